"""Whatever was accepted survives ``kill -9``, once and in every store."""

from __future__ import annotations

import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from processes import ServerProcess
from stores import differences

from pegasus.bootstrap import build
from pegasus.client import Client, ProblemError
from pegasus.errors import Unavailable
from pegasus.samples import SampleDocument, make_docx, make_pdf
from pegasus.settings import load_settings

DOCUMENTS, KILLS = 200, 10
PEOPLE = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Somerville", "Katherine Johnson"]


@dataclass
class Kept:
    """What must be there in the end of one uri."""

    words: list[str]
    version: int = 1
    erased: bool = False
    document_id: str = ""
    job_ids: list[str] = field(default_factory=list)


def own_words(number: int, version: int) -> list[str]:
    return [f"word{number}v{version}p{paragraph}" for paragraph in range(3)]


def paragraphs(number: int, version: int) -> list[str]:
    """Three, each a passage of its own with a word that no other has; shared and own people, and a link."""
    shared, other = PEOPLE[number % 5], PEOPLE[(number + version) % 5]
    return [
        f"{word} {shared} wrote to {other} in London. Olive Berg{number} read [[Title {number // 2}]]. "
        + "Rain. " * 120
        for word in own_words(number, version)
    ]


@dataclass(frozen=True)
class Step:
    kind: str
    number: int
    version: int = 1

    @property
    def uri(self) -> str:
        return f"test:{self.number}"

    def send(self, client: Client) -> Any:
        match self.kind:
            case "text":
                text = "\n\n".join(paragraphs(self.number, self.version))
                body = {"title": f"Title {self.number}", "text": text, "uri": self.uri}
                return client.call("POST", "/v1/documents", json=body)
            case "pdf" | "docx":
                sample = SampleDocument(f"Title {self.number}", [("Part", paragraphs(self.number, self.version))])
                content = (make_pdf if self.kind == "pdf" else make_docx)(sample)
                files = {"file": (f"{self.number}.{self.kind}", content)}
                return client.call("POST", "/v1/documents", files=files, data={"uri": self.uri})


def plan(chance: random.Random) -> list[Step]:
    """200 documents, a tenth of them files; some have a second version, some are erased, soon after or much later."""
    steps, erased = [], set[int]()
    for number in range(DOCUMENTS):
        kind = {0: "pdf", 10: "docx"}.get(number % 20, "text")
        steps.append(Step(kind, number))
        later = chance.choice([0, 1, 2, 30])
        if number % 9 == 4 and number > later and number - later not in erased:
            steps.append(Step("text", number - later, version=2))
        if number % 16 == 7 and number > later:
            steps.append(Step("erase", number - later))
            erased.add(number - later)
    return steps


def take(step: Step, client: Client, kept: dict[str, Kept]) -> None:
    """Send a step and note what was answered."""
    if step.kind == "erase":
        try:
            job = client.call("DELETE", f"/v1/documents/{kept[step.uri].document_id}")["job"]
        except ProblemError as error:
            if error.body["status"] not in (404, 409):  # the answer to an earlier try was lost
                raise
        else:
            kept[step.uri].job_ids.append(job["id"])
        kept[step.uri].erased = True
        return
    answer = step.send(client)
    document, job = answer["document"], answer["job"]
    entry = kept.setdefault(step.uri, Kept([]))
    assert entry.document_id in ("", document["id"])
    assert document["version"] == step.version
    entry.words, entry.version, entry.document_id = own_words(step.number, step.version), step.version, document["id"]
    if job:
        entry.job_ids.append(job["id"])


def killed_soon(server: ServerProcess, after_seconds: float) -> threading.Timer:
    assert server.process
    timer = threading.Timer(after_seconds, server.process.kill)
    timer.start()
    return timer


def all_of(client: Client, path: str) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = client.call("GET", path, params={"limit": 200, **cursor})
        yield from page["items"]
        if not page["next_cursor"]:
            return
        cursor = {"cursor": page["next_cursor"]}


def jobs_at_rest(client: Client, timeout_seconds: float) -> list[dict[str, Any]]:
    until = time.monotonic() + timeout_seconds
    while True:
        waiting = [
            job for state in ("queued", "running") for job in client.call("GET", f"/v1/jobs?state={state}")["items"]
        ]
        if not waiting or time.monotonic() > until:
            return list(all_of(client, "/v1/jobs"))
        time.sleep(0.1)


@pytest.mark.slow
def test_what_was_accepted_survives_ten_kills(tmp_path: Path) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")  # pytest shows it when this fails
    chance = random.Random(seed)
    steps, kept = plan(chance), dict[str, Kept]()
    share = len(steps) // KILLS
    server = ServerProcess(tmp_path / "data")
    try:
        for life in range(KILLS):
            server.spawn()
            if life in (3, 7):  # while it starts, and recovers
                killed_soon(server, chance.uniform(0.3, 1.2)).join()
                server.end(signal.SIGKILL)
                continue
            assert server.wait_ready(), server.log
            client, timer = server.client(), killed_soon(server, chance.uniform(0.01, 0.9))
            quota = steps[:share]
            try:
                while timer.is_alive() or server.process.poll() is None:
                    if quota:
                        take(quota[0], client, kept)
                        steps.remove(quota.pop(0))
                    else:
                        client.call("POST", "/v1/search", json={"query": "Who wrote to Ada Lovelace?"})
            except Unavailable:
                pass
            client.close()
            server.end(signal.SIGKILL)
        client = server.start()
        for step in steps:
            take(step, client, kept)

        jobs = jobs_at_rest(client, timeout_seconds=60)
        assert [(job["kind"], job["state"], job["error"]) for job in jobs if job["state"] != "succeeded"] == []
        assert {id_ for entry in kept.values() for id_ in entry.job_ids} <= {job["id"] for job in jobs}
        found = sorted((doc["uri"], doc["id"], doc["version"]) for doc in all_of(client, "/v1/documents"))
        wanted = [(uri, entry.document_id, entry.version) for uri, entry in kept.items() if not entry.erased]
        assert found == sorted(wanted)
        for entry in kept.values():
            for word in entry.words:
                passages = client.call("POST", "/v1/search", json={"query": word, "mode": "lexical"})["passages"]
                assert [p["document_id"] for p in passages] == ([] if entry.erased else [entry.document_id]), word
        client.close()
    finally:
        print(server.log[-2000:])
        server.end()
    application = build(load_settings(data=tmp_path / "data", embedder="hash"), tmp_path / "data")
    try:
        assert differences(application) == []
    finally:
        application.close()
