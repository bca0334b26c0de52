"""Stopping a server: what is in hand is finished, and nobody's file is blamed for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import finished
from installations import truth_of
from processes import ServerProcess
from stores import values


def slow_html(seconds: float = 1.5) -> bytes:
    """A file that the standard library's HTML parser needs so long for on this machine: its time is quadratic."""
    piece, pieces, begun = "<a a='", 2_000, time.thread_time()
    parser = HTMLParser()
    parser.feed(piece * pieces)
    parser.close()
    return piece.encode() * int(pieces * (seconds / (time.thread_time() - begun)) ** 0.5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    yield process
    process.end(signal.SIGKILL)


def reading(server: ServerProcess) -> str:
    """The id of a job whose file is being read just now."""
    client = server.start()
    job_id: str = client.call("POST", "/v1/documents", files={"file": ("slow.html", slow_html())})["job"]["id"]
    while client.call("GET", f"/v1/jobs/{job_id}")["state"] == "queued":
        time.sleep(0.02)
    time.sleep(0.3)
    assert client.call("GET", f"/v1/jobs/{job_id}")["state"] == "running"
    client.close()
    return job_id


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_finishes_the_file_in_hand_and_closes_its_stores(
    server: ServerProcess, number: signal.Signals
) -> None:
    job_id = reading(server)
    server.end(number, timeout_seconds=30)
    left = {path.name for path in server.data.iterdir()}
    assert not left & {"server.json", "pegasus.sqlite3-wal", "graph.ladybug.wal"}
    with truth_of(server.data) as (relational, _), relational.read() as tx:
        state, lane = values(tx.one("SELECT state, lane FROM jobs WHERE id = :id", {"id": job_id}))
    assert (state, lane) in (("succeeded", "index"), ("queued", "index"))  # read, and handed over


@pytest.mark.slow
def test_a_signal_to_all_processes_as_systemd_sends_it_fails_no_file(server: ServerProcess) -> None:
    job_id = reading(server)
    os.killpg(server.pid, signal.SIGTERM)
    assert server.process
    server.process.wait(30)
    client = server.start()
    job = finished(client, job_id)
    client.close()
    assert (job["state"], job["error"]) == ("succeeded", None)
