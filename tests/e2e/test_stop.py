"""Stopping a server: what is in hand is finished, and nobody's file is blamed for it."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import finished
from processes import ServerProcess

# The standard library's HTML parser takes quadratic time for it: some two seconds.
SLOW_HTML = b"<a a='" * 5_500


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data")
    yield process
    process.end(signal.SIGKILL)


def reading(server: ServerProcess) -> str:
    """The id of a job whose file is being read just now."""
    client = server.start()
    job_id: str = client.call("POST", "/v1/documents", files={"file": ("slow.html", SLOW_HTML)})["job"]["id"]
    while client.call("GET", f"/v1/jobs/{job_id}")["state"] == "queued":
        time.sleep(0.02)
    time.sleep(0.7)
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
    with sqlite3.connect(server.data / "pegasus.sqlite3") as rows:
        state, lane = rows.execute("SELECT state, lane FROM jobs WHERE id = ?", [job_id]).fetchone()
    rows.close()
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
