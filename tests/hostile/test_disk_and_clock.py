"""A disk that refuses writes, a clock that is set back, two servers on one directory: a clear error, and nothing lost."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from calls import add_text, walk
from conftest import finished
from processes import ServerProcess, command
from stores import differences

from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client, ProblemError, running_server
from pegasus.data_directory import holder, is_abandoned, locked
from pegasus.errors import Misconfigured
from pegasus.server import serving_in_background
from pegasus.settings import load_settings


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """The directory mounted upon itself, read-only: modes do not bind root, who runs the tests in a container."""
    if os.geteuid() != 0:
        directory.chmod(0o500)
        yield
        directory.chmod(0o700)
        return
    made = subprocess.run(["mount", "--bind", directory, directory], check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"root that may not mount cannot make a directory read-only: {made.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@contextmanager
def shut(directory: Path) -> Iterator[None]:
    """The directory closed to this thread: as root, for which no mode counts, it goes on as nobody."""
    nobody, libc = 65_534, ctypes.CDLL(None)
    directory.chmod(0)
    before = libc.setfsuid(nobody) if os.geteuid() == 0 else os.geteuid()
    try:
        yield
    finally:
        libc.setfsuid(before)
        directory.chmod(0o700)


@pytest.mark.parametrize("held", [False, True])
def test_a_directory_of_somebody_else_is_told_with_a_next_step(tmp_path: Path, *, held: bool) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lock = locked(data) if held else nullcontext()
    with lock, shut(data):
        for use in (running_server, holder, locked):
            with pytest.raises(Misconfigured, match=str(data)) as told:
                use(data)
            assert "--data" in str(told.value.hint)
        assert not is_abandoned(data)


@pytest.mark.slow
@pytest.mark.parametrize("made_before", [False, True])
def test_a_read_only_directory_is_told_at_the_start_and_left_as_it_is(tmp_path: Path, *, made_before: bool) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if made_before:
        server = ServerProcess(data)
        client = server.start()
        finished(client, add_text(client, "The heron waits by the weir.")["job"]["id"])
        client.close()
        server.end()
    with read_only(data):
        for arguments in (["up", "--port", "0"], ["search", "heron"]):
            told = command(data, *arguments)
            assert told.returncode == 2, told.stderr
            assert str(data) in told.stderr
            assert "Next:" in told.stderr
            assert "Traceback" not in told.stderr
    if made_before:
        assert "heron waits" in command(data, "search", "heron").stdout


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder where files can be immutable, which they cannot in memory."""
    with tempfile.TemporaryDirectory(prefix="pegasus-") as folder:
        yield Path(folder)


@contextmanager
def immutable(directory: Path) -> Iterator[None]:
    """Every file refuses writes, even through a descriptor that is open: a disk remounted read-only after an error."""
    chattr = shutil.which("chattr")
    if not chattr or subprocess.run([chattr, "-R", "+i", directory], check=False, capture_output=True).returncode:
        pytest.skip("files can only be made immutable by root, with chattr, on a file system that has it")
    try:
        yield
    finally:
        subprocess.run([chattr, "-R", "-i", directory], check=True)


@pytest.mark.slow
@pytest.mark.embedded("its stores' files refuse writes")
def test_a_directory_that_becomes_read_only_refuses_what_it_cannot_keep_and_goes_on_after_it(on_disk: Path) -> None:
    server = ServerProcess(on_disk / "data", PEGASUS_JOB_LEASE_SECONDS="3")
    client = server.start()
    try:
        first = add_text(client, "The heron waits by the weir.")
        finished(client, first["job"]["id"])
        with immutable(server.data):
            with pytest.raises(ProblemError) as refused:
                add_text(client, "The osprey circles over the lake.")
            assert refused.value.body["status"] == 503
            assert "permissions" in str(refused.value.body["hint"])
            assert client.call("GET", f"/v1/documents/{first['document']['id']}")["state"] == "ready"
        second = add_text(client, "The osprey circles over the lake.")
        assert finished(client, second["job"]["id"])["state"] == "succeeded"
        assert client.call("POST", "/v1/search", json={"query": "heron"})["passages"]
        assert client.call("GET", "/ready")["ready"]
    finally:
        client.close()
        server.end()


@pytest.mark.slow
def test_the_second_server_on_a_directory_is_refused_and_the_first_keeps_what_it_takes(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    client = server.start()
    try:
        others = [ServerProcess(server.data, log=tmp_path / f"{n}.log") for n in range(3)]
        for other in others:
            other.spawn()
        ids = [add_text(client, f"Note {n}.")["job"]["id"] for n in range(20)]
        for other in others:
            assert not other.wait_ready()
            assert other.process
            assert other.process.wait(30) == 1
            assert "already" in other.log or "is using" in other.log
            assert "Next:" in other.log
            other.end()
        assert {finished(client, id_)["state"] for id_ in ids} == {"succeeded"}
    finally:
        client.close()
        server.end()
    with embedded(load_settings(data=server.data, embedder="hash")) as application:
        assert differences(application) == []


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-48, 48])
def test_a_clock_that_is_set_loses_neither_jobs_nor_sessions_nor_idempotency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    settings = load_settings(data=tmp_path / "data", embedder="hash", embed_threads=1)
    real = time.time
    with embedded(settings) as application, serving_in_background(application) as address:
        client = Client(address, local_access(application, settings.data).key)
        keyed = {"headers": {"Idempotency-Key": "once"}, "json": {"title": "Weir"}}
        session = client.call("POST", "/v1/sessions", **keyed)
        client.call("POST", f"/v1/sessions/{session['id']}/messages", json={"content": "Where is the heron?"})
        before = [add_text(client, f"The heron of day {n} waits.", uri=f"note:{n}") for n in range(10)]

        monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)  # While its jobs are queued and running.
        after = [add_text(client, f"The osprey of day {n} circles.", uri=f"note:{n}") for n in range(5)]
        jobs = [added["job"]["id"] for added in [*before, *after]]
        assert {finished(client, job)["state"] for job in jobs} == {"succeeded"}
        assert sorted(walk(client, "/v1/documents")) == sorted(added["document"]["id"] for added in before)
        assert {added["document"]["version"] for added in after} == {2}

        client.call("POST", f"/v1/sessions/{session['id']}/messages", json={"content": "And where is the osprey?"})
        messages = client.call("GET", f"/v1/sessions/{session['id']}")["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"] * 2
        assert "heron" in messages[0]["content"]
        if hours < 0:
            assert client.call("POST", "/v1/sessions", **keyed)["id"] == session["id"]
        client.call("DELETE", f"/v1/documents/{before[0]['document']['id']}")
        client.close()
        monkeypatch.setattr(time, "time", real)
        assert application.workers[0].alive
