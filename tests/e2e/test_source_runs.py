"""Sources as their users have them, from the command line; what kills do to their runs is in ``kills``."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from origins import web_site
from processes import ServerProcess, command
from stores import differences

from pegasus.bootstrap import build
from pegasus.settings import load_settings


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
