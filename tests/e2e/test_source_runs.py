"""Sources as their users have them: killed in the middle of a run, and from the command line."""

from __future__ import annotations

import json
import random
import secrets
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from origins import web_site
from processes import ServerProcess, command
from stores import differences

from pegasus.bootstrap import build
from pegasus.samples import SampleDocument, make_docx
from pegasus.settings import load_settings

FILES, KILLS = 180, 6


def write(folder: Path, number: int, version: int) -> None:
    """A file with a word of its own; one in twenty is a Word document, which takes longer to read."""
    title, text = f"File {number}", f"The word is word{number}v{version}. " + "Filler. " * 60
    if number % 20 == 0:
        (folder / f"{number}.docx").write_bytes(make_docx(SampleDocument(title, [("Part", [text])])))
    else:
        (folder / f"{number}.md").write_text(f"# {title}\n\n{text}")


def unfinished(data: Path, condition: str = "1") -> int:
    """How many jobs are, at one moment: over HTTP a job may pass from one state's list to another's."""
    with closing(sqlite3.connect(data / "pegasus.sqlite3")) as rows:
        query = f"SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND {condition}"
        return int(rows.execute(query).fetchone()[0])


def at_rest(data: Path, timeout_seconds: float = 60) -> None:
    until = time.monotonic() + timeout_seconds
    while unfinished(data):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_runs_lose_nothing_double_nothing_and_leave_no_orphan(tmp_path: Path) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")  # pytest shows it when this fails
    chance = random.Random(seed)
    folder = tmp_path / "folder"
    folder.mkdir()
    versions = dict.fromkeys(range(FILES), 1)
    for number in versions:
        write(folder, number, 1)
    server = ServerProcess(tmp_path / "data")
    source, interrupted = "", 0
    try:
        for _ in range(KILLS):
            client = server.start()
            if not source:
                body = {"name": "files", "origin": {"kind": "folder", "path": str(folder)}}
                source = client.call("POST", "/v1/sources", json=body)["id"]
            job = client.call("POST", f"/v1/sources/{source}/run")["job"]["id"]
            while client.call("GET", f"/v1/jobs/{job}")["state"] == "queued":
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.25))
            server.end(signal.SIGKILL)
            client.close()
            interrupted += unfinished(server.data, "kind = 'source' AND step <> 'items'")
            for number in chance.sample(sorted(versions), 6):  # Meanwhile life goes on at the source.
                if chance.random() < 0.5:
                    versions[number] += 1
                    write(folder, number, versions[number])
                else:
                    del versions[number]
                    next(folder.glob(f"{number}.*")).unlink()
            fresh = max(versions) + 1
            versions[fresh] = 1
            write(folder, fresh, 1)
        client = server.start()
        at_rest(server.data)  # What was under way goes on by itself.
        client.call("POST", f"/v1/sources/{source}/run")
        at_rest(server.data)
        (run,) = client.call("GET", f"/v1/sources/{source}/runs?limit=1")["items"]
        assert (run["state"], run["errors"], run["held"]) == ("succeeded", [], 0)
        documents = client.call("GET", "/v1/documents?limit=200")["items"]
        assert sorted(d["uri"] for d in documents) == sorted(file.as_uri() for file in folder.iterdir())
        assert {d["state"] for d in documents} == {"ready"}
        for number, version in versions.items():
            body = {"query": f"word{number}v{version}", "mode": "lexical"}
            found = client.call("POST", "/v1/search", json=body)["passages"]
            assert len({p["document_id"] for p in found}) == 1, (number, version)
        assert client.call("GET", "/v1/jobs?state=dead")["items"] == []
        assert interrupted  # Reading all of the files takes several times as long as the first kill waits.
        client.close()
    finally:
        print(server.log[-2000:])
        server.end()
    application = build(load_settings(data=tmp_path / "data", embedder="hash"), tmp_path / "data")
    try:
        assert differences(application) == []
    finally:
        application.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", PEGASUS_FETCH_ALLOWED_HOSTS="127.0.0.1")
    process.start().close()
    yield process
    process.end(signal.SIGKILL)


@pytest.mark.slow
def test_the_command_line_adds_runs_lists_and_removes(server: ServerProcess, tmp_path: Path) -> None:
    data, notes = server.data, tmp_path / "notes"
    (notes / "later").mkdir(parents=True)
    (notes / "a.md").write_text("# Alpha\n\nThe first note.")
    (notes / "b.md").write_text("# Beta\n\nThe second note.")
    later = command(data, "sources", "add", "later", str(notes / "later"), "--every", "1h", "--tag", "x", "--json")
    assert later.returncode == 0, later.stderr
    made = json.loads(later.stdout)
    assert (made["kind"], made["every_seconds"], made["tags"]) == ("folder", 3600, ["x"])
    assert command(data, "sources", "add", "notes", str(notes)).returncode == 0
    with web_site() as site:
        site.text("/", "Page", "A page of the web.")
        assert command(data, "sources", "add", "page", site.url("/")).returncode == 0
        ran = command(data, "pipeline", "run", "--json")
        assert ran.returncode == 0, ran.stderr
        assert {run["source"]: run["created"] for run in json.loads(ran.stdout)} == {"notes": 2, "page": 1, "later": 0}
    (notes / "b.md").unlink()
    (notes / "c.pdf").write_bytes(b"%PDF-1.4 broken")
    failed = command(data, "pipeline", "run", "--source", "notes")
    assert failed.returncode == 1
    assert "notes: The PDF is damaged" in failed.stdout
    listed = json.loads(command(data, "sources", "list", "--json").stdout)
    assert {source["name"]: source["documents"] for source in listed} == {"notes": 2, "page": 1, "later": 0}
    (notes / "a.md").unlink()
    (notes / "c.pdf").unlink()
    held = command(data, "sources", "run", "notes")
    assert (held.returncode, "--confirm" in held.stdout) == (1, True)
    assert "notes" in command(data, "sources", "list").stdout
    removed = command(data, "sources", "remove", "page", "--erase")
    assert (removed.returncode, "erased" in removed.stdout) == (0, True)
    unknown = command(data, "sources", "run", "page")
    assert (unknown.returncode, "pegasus sources list" in unknown.stderr) == (1, True)
    server.end()
    # Without a server, too; and then it waits until all is done.
    assert command(data, "sources", "run", "notes", "--confirm").returncode == 0
    application = build(load_settings(data=data, embedder="hash"), data)
    try:
        with application.relational.read() as tx:
            assert tx.all("SELECT id FROM documents") == []
        assert differences(application) == []
    finally:
        application.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", "https://e.org/", "--every", "soon"), "15m"),
        (("x", "https://e.org/", "--kind", "gopher"), "sitemap"),
        (("x", "imaps://me:secret@e.org/"), "--secret"),
    ],
)
def test_a_source_that_cannot_be_is_refused_with_the_next_step(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused = command(tmp_path / "data", "sources", "add", *arguments)
    assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "data").exists()  # It is told before a store is opened.
