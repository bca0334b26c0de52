"""A full disk, or a log that cannot be written, stops nothing for good."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import finished
from processes import ServerProcess

from pegasus.client import ProblemError

# In a process of its own, as a write of Chroma that hangs would take the tests along.
_FULL_DISK_UNDER_VECTORS = """
import os, resource, sys, threading, time
from pathlib import Path
import numpy as np
from pegasus.adapters.chroma import ChromaVectorStore
from pegasus.errors import Unavailable

directory, room = Path(sys.argv[1]), int(sys.argv[2])
store, chance, refused, filling = ChromaVectorStore(directory), np.random.default_rng(7), 0, True

def put(name):
    vectors = chance.normal(size=(2, 384)).astype(np.float32)
    store.upsert("w", [f"{name}-1", f"{name}-2"], vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

def search():
    while filling:
        try:
            store.query("w", np.ones(384, np.float32) / 384**0.5, 50)
        except Unavailable:
            pass
        time.sleep(0.01)

for n in range(20):
    put(f"before{n}")
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
largest = max(file.stat().st_size for file in directory.rglob("*") if file.is_file())
resource.setrlimit(resource.RLIMIT_FSIZE, (largest + room, limits[1]))
threads = [threading.Thread(target=search) for _ in range(3)]
for thread in threads:
    thread.start()
for n in range(25):
    try:
        put(f"full{n}")
    except Unavailable:
        refused += 1
    time.sleep(0.02)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
filling = False
for thread in threads:
    thread.join()
assert refused, "the disk was never full"
for n in range(25):
    put(f"full{n}")
assert sum(len(ids) for ids, _ in store.pages("w")) == 90
store.close()
"""


@pytest.mark.slow
@pytest.mark.embedded("the disk of its stores is full")
@pytest.mark.parametrize("room", [9_000, 45_000])
def test_a_full_disk_under_the_vectors_is_told_and_passes(tmp_path: Path, room: int) -> None:
    """Without opening the client anew after a failure this hung each time."""
    subprocess.run(
        [sys.executable, "-c", _FULL_DISK_UNDER_VECTORS, str(tmp_path / "vectors"), str(room)], check=True, timeout=60
    )


@pytest.mark.slow
@pytest.mark.embedded("the disk of its stores is full")
@pytest.mark.parametrize("searching", [False, True])
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
        states = Counter(finished(client, id_)["state"] for id_ in accepted)
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
        assert finished(client, job["id"])["state"] == "failed"
        assert client.call("GET", "/ready")["ready"]
    finally:
        client.close()
        server.end()
