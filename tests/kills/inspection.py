"""Looks into everything once the work has come to rest: what was accepted is there once, what was erased is gone."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from installations import stopped
from ledger import Entry, Ledger
from processes import command
from stores import differences
from workload import Folder, Line, Pages

from pegasus.cli.options import pages as all_of

# What a data directory has in it. Anything else is what something that was killed has left behind.
_PARTS = {"pegasus.sqlite3", "vectors", "graph.ladybug", "files", "key", "lock"}
_REST_SECONDS = 90


def unfinished(data: Path) -> dict[str, int]:
    """Jobs that are waiting or running, by kind, at one moment: over HTTP a job may pass from one list to another."""
    with closing(sqlite3.connect(f"{(data / 'pegasus.sqlite3').as_uri()}?mode=ro", uri=True)) as rows:
        query = "SELECT kind, count(*) FROM jobs WHERE state IN ('queued', 'running') GROUP BY kind"
        return dict(rows.execute(query).fetchall())


def at_rest(data: Path) -> None:
    until = time.monotonic() + _REST_SECONDS
    while left := unfinished(data):
        assert time.monotonic() < until, f"jobs never end: {left}"
        time.sleep(0.05)


def revive(line: Line, data: Path) -> None:
    """A job whose worker is lost several times is buried, and rightly, as it may be what kills it. Chance has killed
    these: they are retried, as somebody would who has read why they died."""
    dead = list(all_of(line, "/v1/jobs", state="dead"))
    assert {job["error"]["type"] for job in dead} <= {"urn:pegasus:problem:worker-lost"}, dead
    line.call("POST", "/v1/jobs/retry")
    at_rest(data)


def check_running(
    line: Line, data: Path, ledger: Ledger, sources: dict[str, str], folder: Folder, pages: Pages
) -> None:
    """What its users see of a server, nobody else at work."""
    at_rest(data)
    revive(line, data)
    wanted = {"folder": folder.wanted, "site": pages.wanted}
    for id_ in sources.values():
        # Confirmed: what may look like a sudden loss is only that several kills came between two runs.
        ledger.jobs.add(line.create(f"/v1/sources/{id_}/run?confirm=true")["job"]["id"])
    at_rest(data)
    for name, id_ in sources.items():
        (run,) = line.call("GET", f"/v1/sources/{id_}/runs?limit=1")["items"]
        assert (run["state"], run["errors"], run["held"]) == ("succeeded", [], 0), run
        assert line.call("GET", f"/v1/sources/{id_}")["documents"] == len(wanted[name]), name
    live = ledger.live
    documents = list(all_of(line, "/v1/documents"))
    from_sources = {uri: words for some in wanted.values() for uri, words in some.items()}
    assert sorted(d["uri"] for d in documents) == sorted([*live, *from_sources])
    ids = {d["uri"]: d["id"] for d in documents}
    for uri, entry in live.items():
        ledger.known(uri, ids[uri])
        assert entry.document_id in ("", ids[uri]), (entry, ids[uri])
    versions = {d["uri"]: d["version"] for d in documents if d["uri"] in live}
    assert versions == {uri: entry.version for uri, entry in live.items()}
    assert [d for d in documents if d["state"] != "ready"] == []
    every = from_sources | {uri: entry.words for uri, entry in live.items()}
    for uri, words in every.items():
        for word in words:
            found = line.call("POST", "/v1/search", json={"query": word, "mode": "lexical"})["passages"]
            assert {p["document_id"] for p in found} == {ids[uri]}, (uri, word, found)
    done = command(data, "check", "--json")
    assert (done.returncode, json.loads(done.stdout)["differences"]) == (0, []), done.stderr


def check_stopped(data: Path, ledger: Ledger) -> None:
    """The stores themselves, in full, and the history of the jobs."""
    with stopped(data) as application:
        assert differences(application) == []
        with application.relational.read() as tx:
            jobs = {row["id"]: row for row in tx.all("SELECT id, kind, state, error, parent_id, payload FROM jobs")}
            open_erasures = [row["id"] for row in tx.all("SELECT id FROM erasures WHERE verified_at IS NULL")]
    # Removing a source cancels its run, with what that has taken in.
    runs = {job["id"] for job in jobs.values() if json.loads(job["payload"]).get("source_id") in ledger.removed_sources}
    for job in jobs.values():
        cancelled = job["state"] == "cancelled" and {job["id"], job["parent_id"]} & runs
        assert job["state"] == "succeeded" or cancelled, dict(job)
    assert ledger.jobs - jobs.keys() == set()
    assert open_erasures == []
    left = {path.name.removesuffix("-wal").removesuffix("-shm") for path in data.iterdir()} - _PARTS
    assert left == set()


@dataclass
class Archive:
    """A backup that somebody has begun, and what was accepted then."""

    path: Path
    before: Mapping[str, Entry]
    erased: Mapping[str, Entry]
    after: Mapping[str, Entry] | None = None  # Once the command has said that it is complete.


def check_archive(archive: Archive, scratch: Path) -> None:
    """It is whole, and of one moment between its beginning and its end; or it is not there at all, if it was killed."""
    if archive.after is None and not archive.path.exists():
        return
    try:
        done = command(scratch, "restore", str(archive.path))
        assert done.returncode == 0, done.stderr
        with closing(sqlite3.connect(scratch / "pegasus.sqlite3")) as rows:
            found = {row[0]: row for row in rows.execute("SELECT id, uri, version FROM documents")}
        assert [(row, archive.erased[id_]) for id_, row in found.items() if id_ in archive.erased] == []
        if archive.after is not None:
            constant = [e for uri, e in archive.before.items() if e.document_id and archive.after.get(uri) == e]
            lost = [e for e in constant if found.get(e.document_id) != (e.document_id, e.uri, e.version)]
            assert lost == [], [found.get(e.document_id) for e in lost]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    archive.path.unlink()
