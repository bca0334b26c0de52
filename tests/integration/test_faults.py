"""Each fault of each server under a Pegasus that is at work: who gets what answer, how soon, and that nothing is lost.

docs/explanation/faults.md tells what these tests show. One Pegasus goes through all of it; only where a test says so is
it started again. Between it and each server is a proxy; servers are stopped, killed and emptied for real.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx
import postgresql
import pytest
from conftest import finished
from postgresql import PostgresServer
from proxies import Proxy, answering, babbling_server, proxy_to, respond
from psycopg.sql import SQL
from servers import (
    ACCESS_KEY_ID,
    PASSWORD,
    REGION,
    SECRET_ACCESS_KEY,
    ChromaServer,
    bolt_server,
    chroma_server,
    s3_server,
)  # fmt: skip

from pegasus.application import Application
from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client
from pegasus.errors import Misconfigured, Unavailable
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]

# What no request exceeds, whatever its servers do.
MOST_SECONDS = 20.0
RECOVERY_SECONDS = 120.0

FINE = {
    "add": 202, "upload": 202, "erase": 202, "read": 200, "words": 200, "search": 200, "ask": 200, "neighbours": 200,
    "health": 200, "ready": 200,
}  # fmt: skip
# What is answered with 503 while a server is away, and which store /ready then names.
REFUSED = {
    "postgres": set(FINE) - {"health"},
    "chroma": {"search", "ask", "ready"},
    "bolt": {"neighbours", "ready"},
    "s3": {"upload", "ready"},
}
NAMED = {"postgres": "relational", "chroma": "vectors", "bolt": "graph", "s3": "files"}
SERVERS = tuple(REFUSED)


def expected(*away: str) -> dict[str, int]:
    refused = set().union(*(REFUSED[name] for name in away)) if away else set()
    return {name: 503 if name in refused else status for name, status in FINE.items()}


class Control(Protocol):
    def start(self) -> None: ...

    def kill(self) -> None: ...

    def send(self, number: int) -> None: ...


@dataclass
class Behind:
    """A server, and the proxy before it."""

    server: Any
    control: Control
    proxy: Proxy


@dataclass
class Answer:
    status: int
    seconds: float
    body: dict[str, Any]
    retry_after: str | None


@dataclass
class World:
    directory: Path
    settings: Mapping[str, Any]
    servers: Mapping[str, Behind]
    accepted: list[str] = field(default_factory=list)  # Jobs
    spare: list[str] = field(default_factory=list)  # Documents to be erased
    erased: list[str] = field(default_factory=list)
    before: Any = None
    _numbers: Iterator[int] = field(default_factory=count)
    _running: ExitStack = field(default_factory=ExitStack)
    application: Application | None = None
    http: httpx.Client | None = None
    client: Client | None = None
    entity: str = ""
    document: str = ""

    # --- The process

    def start(self) -> None:
        settings = load_settings(data=self.directory, embedder="hash", parse_timeout_seconds=20, **self.settings)
        with ExitStack() as stack:
            self.application = stack.enter_context(embedded(settings))
            key = local_access(self.application, self.directory).key
            address = stack.enter_context(serving_in_background(self.application))
            self.http = stack.enter_context(
                httpx.Client(base_url=address, headers={"X-API-Key": key}, timeout=3 * MOST_SECONDS, verify=False)
            )
            self.client = Client(address, key)
            stack.callback(self.client.close)
            self._running = stack.pop_all()

    def stop(self) -> None:
        self._running.close()

    # --- Work

    def fill(self) -> None:
        for n, story in enumerate((
            "Ada Lovelace carried the zanzibarite over the northern pass, and wrote to Charles Babbage of it.",
            "Charles Babbage weighed the zanzibarite twice. Ada Lovelace had seen it shine at night.",
            "The ferry to the island of gulls leaves when the keeper of the lamp has lit it.",
        )):  # fmt: skip
            self.document = self._add(f"# Story {n}\n\n{story}\n")
        self.client_.call(
            "POST", "/v1/documents", files={"file": ("page.md", b"# Page\n\nA page about Ada Lovelace.\n")}
        )
        self.prepare(4)
        self.entity = self.client_.call("GET", "/v1/graph/entities", params={"q": "Ada Lovelace"})["items"][0]["id"]
        self.before = self.answers()

    def prepare(self, number: int) -> None:
        """Documents that a round may erase."""
        self.spare += [self._add(f"Spare sheet {next(self._numbers)}: nothing but a list.") for _ in range(number)]

    def _add(self, text: str) -> str:
        added = self.client_.call("POST", "/v1/documents", json={"text": text})
        assert finished(self.client_, added["job"]["id"])["state"] == "succeeded"
        return str(added["document"]["id"])

    @property
    def client_(self) -> Client:
        assert self.client
        return self.client

    def answers(self) -> Any:
        """What must be the same after each fault: passages by place, an answer to the letter, a neighbourhood."""
        found = self.client_.call("POST", "/v1/search", json={"query": "who weighed the zanzibarite", "limit": 2})
        answer = self.client_.call("POST", "/v1/ask", json={"question": "Who weighed the zanzibarite?", "limit": 2})
        around = self.client_.call("GET", f"/v1/graph/entities/{self.entity}/neighbours", params={"depth": 1})
        return (
            [(passage["document_id"], passage["start"], sorted(passage["ranks"])) for passage in found["passages"]],
            answer,
            [neighbour["name"] for neighbour in around["neighbours"]],
        )

    def round(self) -> dict[str, Answer]:
        """All kinds of work at the same time, once."""
        number = next(self._numbers)
        asked: dict[str, Callable[[], httpx.Response]] = {
            "add": lambda: self._send("POST", "/v1/documents", json={"text": f"Note {number} about a harbour."}),
            "upload": lambda: self._send(
                "POST", "/v1/documents", files={"file": (f"{number}.md", f"# Sheet {number}\n\nOf salt.\n".encode())}
            ),
            "erase": lambda: self._send("DELETE", f"/v1/documents/{self.spare[-1]}"),
            "read": lambda: self._send("GET", f"/v1/documents/{self.document}/content"),
            "words": lambda: self._send("POST", "/v1/search", json={"query": "zanzibarite", "mode": "lexical"}),
            "search": lambda: self._send("POST", "/v1/search", json={"query": "Ada Lovelace and the zanzibarite"}),
            "ask": lambda: self._send("POST", "/v1/ask", json={"question": "Who weighed the zanzibarite?"}),
            "neighbours": lambda: self._send("GET", f"/v1/graph/entities/{self.entity}/neighbours"),
            "health": lambda: self._send("GET", "/health"),
            "ready": lambda: self._send("GET", "/ready"),
        }
        with ThreadPoolExecutor(len(asked)) as pool:
            sent = {name: pool.submit(_timed, call) for name, call in asked.items()}
        answers = {name: future.result() for name, future in sent.items()}
        self.accepted += [a.body["job"]["id"] for a in answers.values() if a.status == 202]
        if answers["erase"].status == 202:
            self.erased.append(self.spare.pop())
        return answers

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        assert self.http
        return self.http.request(method, path, **options)

    # --- What is to be seen

    def shows(self, *away: str) -> None:
        """A round whose answers are those that are stated for these servers being away."""
        answers = self.round()
        assert statuses(answers) == expected(*away), told(answers)
        for name, answer in answers.items():
            assert answer.seconds < MOST_SECONDS, told(answers)
            if answer.status == 503 and name != "ready":
                assert answer.body["type"].removeprefix("urn:pegasus:problem:") in ("unavailable", "timed-out")
                assert answer.body["hint"]
                assert answer.retry_after
                assert PASSWORD not in str(answer.body)
        wrong = {one["name"] for one in answers["ready"].body["dependencies"] if not one["ready"]}
        assert wrong - {"search"} == {NAMED[name] for name in away}, told(answers)

    def recovers(self) -> None:
        """By itself: all is served, all that was accepted is done, the stores agree, answers are as before."""
        until = time.monotonic() + RECOVERY_SECONDS
        while statuses(answers := self.round()) != FINE:
            assert time.monotonic() < until, told(answers)
            time.sleep(0.5)
        for job in self.accepted:
            done = finished(self.client_, job, RECOVERY_SECONDS)
            assert done["state"] == "succeeded", done
        for document in self.erased:
            receipt = self.client_.call("GET", f"/v1/erasures/{document}")
            assert receipt["state"] == "verified"
            assert {look["left"] for look in receipt["looks"]} == {0}
        self.accepted.clear()
        self.erased.clear()
        self.prepare(max(0, 4 - len(self.spare)))
        report = self.client_.call("GET", "/v1/integrity")
        if set(report["counts"]) == {"files:orphan"}:
            # Of an upload that was refused, for the bucket said nothing in time, and then kept it all the same.
            report = self.repair()
        assert report["consistent"], report
        assert self.answers() == self.before

    def repair(self) -> dict[str, Any]:
        """The report afterwards."""
        job = finished(self.client_, self.client_.call("POST", "/v1/integrity/repair")["job"]["id"])
        assert job["state"] == "succeeded", job
        report: dict[str, Any] = self.client_.call("GET", "/v1/integrity")
        return report


def _timed(call: Callable[[], httpx.Response]) -> Answer:
    begun = time.monotonic()
    answer = call()
    return Answer(answer.status_code, time.monotonic() - begun, answer.json(), answer.headers.get("Retry-After"))


def statuses(answers: Mapping[str, Answer]) -> dict[str, int]:
    return {name: answer.status for name, answer in answers.items()}


def told(answers: Mapping[str, Answer]) -> str:
    return "\n".join(f"{name}: {a.status} after {a.seconds:.1f} s {str(a.body)[:300]}" for name, a in answers.items())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        starting: list[AbstractContextManager[Any]] = [
            postgresql.running(), chroma_server(folder / "chroma"), bolt_server(folder / "bolt"),
            s3_server(folder / "s3"),
        ]  # fmt: skip
        postgres, chroma, bolt, s3 = [stack.enter_context(one) for one in starting]
        servers = {}
        for name, server in (("postgres", postgres), ("chroma", chroma), ("bolt", bolt), ("s3", s3)):
            control = server if name == "postgres" else server.process
            servers[name] = Behind(server, control, stack.enter_context(proxy_to(server.port)))
        port = {name: behind.proxy.port for name, behind in servers.items()}
        world = World(folder / "data", {
            "database_url": postgres.url(postgres.create()).replace(f":{postgres.port}/", f":{port['postgres']}/"),
            "vectors_url": f"http://127.0.0.1:{port['chroma']}",
            "graph_url": f"bolt://root:{quote(PASSWORD)}@127.0.0.1:{port['bolt']}/{bolt.new_database()}",
            "files_url": f"s3://{s3.bucket}/faults?region={REGION}&endpoint=http://127.0.0.1:{port['s3']}",
        }, servers)  # fmt: skip
        try:
            world.start()
            world.fill()
            yield world
        finally:
            for behind in servers.values():
                behind.control.send(signal.SIGCONT)
            world.stop()


@pytest.fixture
def world(stage: World) -> World:
    """At work and in order."""
    stage.prepare(max(0, 4 - len(stage.spare)))
    stage.shows()
    return stage


@contextmanager
def stopped(*servers: Behind) -> Iterator[None]:
    for behind in servers:
        behind.control.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for behind in servers:
            behind.control.send(signal.SIGCONT)


@pytest.mark.parametrize("name", SERVERS)
def test_absent_at_start(stage: World, name: str) -> None:
    stage.stop()
    stage.servers[name].proxy.refuse()
    try:
        if name == "postgres":
            with pytest.raises(Unavailable, match="cannot be reached") as raised:
                stage.start()
            assert raised.value.hint
        else:
            stage.start()
            stage.shows(name)
    finally:
        stage.servers[name].proxy.listen()
    if name == "postgres":
        stage.start()
    stage.recovers()


def test_a_graph_that_stands_still_costs_only_the_graph(world: World) -> None:
    with stopped(world.servers["bolt"]):
        world.shows("bolt")
        world.shows("bolt")  # Also once it is known to be away.
    world.recovers()


def test_postgres_stopped_for_a_minute(world: World) -> None:
    a_minute(world, "postgres")


def test_the_other_three_stopped_for_a_minute(world: World) -> None:
    a_minute(world, "chroma", "bolt", "s3")


def a_minute(world: World, *names: str) -> None:
    world.prepare(12)
    until = time.monotonic() + 60
    with stopped(*(world.servers[name] for name in names)):
        while time.monotonic() < until:
            world.shows(*names)
            time.sleep(5)
    world.recovers()


@pytest.mark.parametrize("name", SERVERS)
def test_killed_and_started_again(world: World, name: str) -> None:
    behind = world.servers[name]
    behind.control.kill()
    try:
        world.shows(name)
    finally:
        behind.control.start()
    world.recovers()


@pytest.mark.parametrize("name", SERVERS)
def test_slow(world: World, name: str) -> None:
    """Everything takes longer, and is done."""
    proxy = world.servers[name].proxy
    proxy.delay_seconds = 0.05
    try:
        world.shows()
        world.recovers()
    finally:
        proxy.delay_seconds = 0.0


NOISE = bytes(range(256)) * 8


@contextmanager
def nonsense(kind: str) -> Iterator[int]:
    """The port of a server that answers so."""
    if kind == "noise":
        with babbling_server(NOISE) as port:
            yield port
        return
    body = {"a web page": b"<html><body>Welcome to the network.</body></html>", "other JSON": b'{"hello": ["world"]}'}
    with answering(lambda request: respond(request, 200, body[kind])) as url:
        yield urlsplit(url).port or 0


@pytest.mark.parametrize(("name", "kind"), [
    *((name, "noise") for name in SERVERS),
    *((name, kind) for name in ("chroma", "s3") for kind in ("a web page", "other JSON")),
])  # fmt: skip
def test_nonsense(world: World, name: str, kind: str) -> None:
    behind = world.servers[name]
    with nonsense(kind) as port:
        behind.proxy.lead_to(port)
        try:
            world.shows(name)
        finally:
            behind.proxy.lead_to(behind.server.port)
    world.recovers()


# --- Its data wiped


def repaired(world: World, kinds: set[str]) -> None:
    """The check tells what is missing, the repair brings it back."""
    report = world.client_.call("GET", "/v1/integrity")
    assert set(report["counts"]) <= kinds, report
    assert report["counts"], report
    assert world.repair()["consistent"]
    world.recovers()


def test_chroma_wiped(world: World) -> None:
    chroma: ChromaServer = world.servers["chroma"].server
    chroma.process.kill()
    shutil.rmtree(chroma.directory)
    chroma.process.start()
    world.shows()
    repaired(world, {"vectors:missing"})


def test_graph_wiped(world: World) -> None:
    assert world.application
    world.application.search._graph._transact(lambda tx: tx.all("MATCH (n) DETACH DELETE n"))
    world.shows()
    repaired(world, {"graph:differs", "graph:entity-differs"})


def test_bucket_wiped(world: World) -> None:
    assert world.application
    world.recovers()  # A file that was not read yet would be lost.
    for key in list(world.application.files.stored_keys()):
        world.application.files.delete(key)
    world.shows()
    repaired(world, {"files:missing"})


@contextmanager
def another_database(world: World, template: str) -> Iterator[None]:
    """Instead of the one with the rows, which is put aside and then put back."""
    postgres: PostgresServer = world.servers["postgres"].server
    name = urlsplit(world.settings["database_url"]).path[1:]
    away = f"{name}_aside"
    postgres.rename(name, away)
    try:
        postgres.administer(SQL("CREATE DATABASE {} TEMPLATE {} OWNER pegasus"), name, template)
        yield
    finally:
        postgres.drop(name)
        postgres.rename(away, name)


@pytest.mark.parametrize("template", ["no tables", "no rows"])
def test_postgres_wiped(world: World, template: str, postgres_schema: str) -> None:
    """The truth is gone: nobody may take that for a first start. What the other stores hold is left alone."""
    with another_database(world, "template1" if template == "no tables" else postgres_schema):
        world.shows("postgres")
        world.shows("postgres")
        world.stop()
        with pytest.raises(Misconfigured, match="vectors and graph and files still hold documents") as raised:
            world.start()
        assert "backup" in (raised.value.hint or "")
    world.start()
    world.recovers()


@pytest.fixture
def postgres_schema(stage: World) -> str:
    from pegasus.adapters.postgres import PostgresRelationalStore
    from pegasus.migrations import HEAD

    postgres: PostgresServer = stage.servers["postgres"].server
    name = postgres.create()
    store = PostgresRelationalStore(postgres.url(name))
    store.migrate(HEAD)
    store.close()
    return name
