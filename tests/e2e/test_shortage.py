"""A full disk, or a log that cannot be written, stops nothing for good."""

from __future__ import annotations

import resource
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import finished
from processes import ServerProcess

from pegasus.client import ProblemError

# Seen once in some eight runs: Chroma's engine never comes back from a query that meets the full disk.
_MAY_HANG = pytest.mark.xfail(strict=False, reason="a query of Chroma on a full disk may never return")


@pytest.mark.slow
@pytest.mark.parametrize("searching", [False, pytest.param(True, marks=_MAY_HANG)])
def test_what_was_accepted_is_indexed_once_a_full_disk_has_room_again(tmp_path: Path, *, searching: bool) -> None:
    """A limit on the size of files stands in for the full disk: writes fail, and succeed when it is lifted."""
    server = ServerProcess(tmp_path / "data", PEGASUS_JOB_LEASE_SECONDS="3")
    client = server.start()
    try:
        limits = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        accepted, refusals = [], list[ProblemError]()
        for number in range(60):
            if number == 20:
                resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (400_000, limits[1]))
            text = f"Note {number}. " + " ".join(f"word{number}x{n}" for n in range(400))
            try:
                accepted.append(client.call("POST", "/v1/documents", json={"text": text})["job"]["id"])
            except ProblemError as error:
                refusals.append(error)
        time.sleep(2)
        try:
            if searching:
                client.call("POST", "/v1/search", json={"query": "word3x3"})
        except ProblemError as error:
            refusals.append(error)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, limits)
        assert {error.body["status"] for error in refusals} == {503}, refusals
        assert all("free space" in (error.hint or "") for error in refusals)
        states = Counter(finished(client, id_, timeout_seconds=30)["state"] for id_ in accepted)
        assert states == {"succeeded": len(accepted)}
        assert client.call("GET", "/ready")["ready"]
    finally:
        client.close()
        print(server.log[-1500:])
        server.end()


@pytest.mark.slow
def test_a_log_that_cannot_be_written_stops_no_worker(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", log=Path("/dev/full"))
    client = server.start()
    try:
        job = client.call("POST", "/v1/documents", files={"file": ("empty.txt", b"")})["job"]
        assert finished(client, job["id"], timeout_seconds=5)["state"] == "failed"
        assert client.call("GET", "/ready")["ready"]
    finally:
        client.close()
        server.end()
