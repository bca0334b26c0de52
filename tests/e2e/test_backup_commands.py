"""Backup and restore as people run them: beside a server at work, killed in the middle, on a full disk."""

from __future__ import annotations

import io
import json
import random
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pyrage
import pytest
from installations import fill, said, settings_for, stopped
from processes import PEGASUS, ServerProcess, command, environment
from stores import differences
from tier import copied, one_machine

from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client, ProblemError
from pegasus.documents import service as documents
from pegasus.samples import SampleDocument, make_pdf
from pegasus.server import serving_in_background


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "data"
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def saved(filled: Path) -> Path:
    path = filled.with_name("archive")
    assert command(filled, "backup", str(path)).returncode == 0
    return path


def finish_work(folder: Path) -> None:
    """Let the workers do what is left, and see that the stores agree."""
    with embedded(settings_for(folder)) as application:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with application.relational.read() as tx:
                if not tx.one("SELECT 1 FROM jobs WHERE state IN ('queued', 'running')"):
                    break
            time.sleep(0.05)
    with stopped(folder) as application:
        with application.relational.write() as tx:
            tx.execute("DELETE FROM jobs WHERE state = 'dead'")
            tx.execute("UPDATE documents SET state = 'failed' WHERE state = 'searchable'")
        assert differences(application) == []


class TestCommands:
    def test_both_ways_of_encryption_and_what_the_commands_say(self, filled: Path, tmp_path: Path) -> None:
        own = pyrage.x25519.Identity.generate()
        (tmp_path / "identity").write_text(f"# created by age-keygen\n{own}\n")
        made = command(filled, "backup", str(tmp_path / "a"), "--recipient", str(own.to_public()), "--json")
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        assert told["counts"]["documents"] > 5
        assert told["size_bytes"] == (tmp_path / "a").stat().st_size
        new = one_machine(tmp_path / "new")
        without = command(new, "restore", str(tmp_path / "a"))
        assert (without.returncode, "--identity" in without.stderr) == (2, True)
        drill = command(filled, "restore", str(tmp_path / "a"), "--drill", "--identity", str(tmp_path / "identity"))
        assert (drill.returncode, "PASSED" in drill.stdout) == (0, True), drill.stderr
        back = command(new, "restore", str(tmp_path / "a"), "--identity", str(tmp_path / "identity"))
        assert (back.returncode, "Restored into" in back.stdout) == (0, True), back.stderr
        assert (new / "pegasus.sqlite3").is_file()
        again = command(new, "restore", str(tmp_path / "a"), "--identity", str(tmp_path / "identity"))
        assert (again.returncode, "There are documents" in again.stderr) == (1, True)

    def test_refusals_have_an_exit_code_and_a_next_step(self, filled: Path, saved: Path, tmp_path: Path) -> None:
        content = bytearray(saved.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "damaged").write_bytes(content)
        cases = [
            (2, "damaged or incomplete", ["restore", str(tmp_path / "damaged")]),
            (2, "damaged or incomplete", ["restore", str(tmp_path / "damaged"), "--drill"]),
            (2, "not an archive", ["restore", str(filled / "key")]),
            (2, "does not exist", ["restore", str(tmp_path / "none")]),
            (1, "exists already", ["backup", str(saved)]),
            (2, "no recipient", ["backup", str(tmp_path / "a"), "--recipient", "age1nonsense"]),
            (2, "not both", ["backup", str(tmp_path / "a"), "--recipient", "age1x", "--passphrase-file", "x"]),
            (2, "cannot be read", ["backup", str(tmp_path / "a"), "--passphrase-file", str(tmp_path / "none")]),
        ]
        for code, told, arguments in cases:
            target = filled if arguments[0] == "backup" else one_machine(tmp_path / "new")
            done = command(target, *arguments)
            assert (done.returncode, told in done.stderr) == (code, True), (arguments, done.stderr)
            assert "Traceback" not in done.stderr
        assert not (tmp_path / "a").exists()
        assert not (tmp_path / "a.partial").exists()
        assert not (tmp_path / "new" / "pegasus.sqlite3").exists()


def note(number: int) -> dict[str, Any]:
    return {"text": f"Note {number} of Ada Lovelace. " + f"word{number} " * 50, "title": f"Note {number}"}


class Busy(threading.Thread):
    """Adds texts and files and erases some of them again, for as long as it is let."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self._client, self.stop, self.written = client, threading.Event(), 0

    def run(self) -> None:
        chance, ids = random.Random(1), list[str]()
        while not self.stop.is_set():
            number = self.written
            if number % 3:
                added = self._client.call("POST", "/v1/documents", json=note(number))
            else:
                sample = SampleDocument(f"File {number}", [("Part", [f"It has the word{number} of Grace Hopper."])])
                added = self._client.call("POST", "/v1/documents", files={"file": (f"{number}.pdf", make_pdf(sample))})
            ids.append(added["document"]["id"])
            self.written += 1
            if len(ids) > 5 and number % 2:
                try:
                    self._client.call("DELETE", f"/v1/documents/{ids.pop(chance.randrange(len(ids)))}")
                except ProblemError as error:
                    assert error.body["status"] == 409  # noqa: PT017 - it is being erased already


@pytest.mark.slow
def test_a_backup_beside_a_busy_server_is_of_one_moment(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    client = server.start()
    busy = Busy(client)
    try:
        busy.start()
        for number in range(3):
            before = busy.written
            while busy.written < before + 15:
                time.sleep(0.01)
            done = command(tmp_path / "data", "backup", str(tmp_path / f"archive-{number}"))
            assert done.returncode == 0, done.stderr
        assert busy.is_alive()
    finally:
        busy.stop.set()
        busy.join()
        client.close()
        server.end()
    for number in range(3):
        folder = one_machine(tmp_path / f"data-{number}")
        back = command(folder, "restore", str(tmp_path / f"archive-{number}"))
        assert back.returncode == 0, back.stderr
        finish_work(folder)


def started(data: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PEGASUS, *arguments, "--data", str(data)],
        env=environment(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def killed_at(process: subprocess.Popen[str], moment: Path, delay_seconds: float) -> bool:
    """Kill it so long after a file has come into being; whether it was still running then."""
    while process.poll() is None and not moment.exists():
        time.sleep(0.001)
    time.sleep(delay_seconds)
    running = process.poll() is None
    process.kill()
    process.communicate()
    return running


@pytest.mark.slow
def test_a_killed_backup_leaves_no_archive_and_the_next_one_works(filled: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a"
    killed = 0
    for delay in (0.0, 0.01, 0.03):
        process = started(filled, "backup", str(archive))
        killed += killed_at(process, tmp_path / "a.partial", delay)
        if archive.exists():  # It was quicker.
            archive.unlink()
    assert killed
    assert command(filled, "backup", str(archive)).returncode == 0
    assert command(filled, "restore", str(archive), "--drill").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


@pytest.mark.slow
def test_a_killed_restore_leaves_nothing_or_all(filled: Path, saved: Path, tmp_path: Path) -> None:
    wanted = ask(filled)
    outcomes = []
    for number, delay in enumerate((0.0, 0.1, 0.3, 0.6)):
        folder = one_machine(tmp_path / str(number))
        process = started(folder, "restore", str(saved))
        if killed_at(process, folder / "restoring", delay):
            outcomes.append(documents_in(folder))
        if not outcomes or outcomes[-1] == 0:
            assert command(folder, "restore", str(saved)).returncode == 0
        assert ask(folder) == wanted
        assert not {"restoring", "restored"} & {path.name for path in folder.iterdir()}
    assert 0 in outcomes


def documents_in(folder: Path) -> int:
    with stopped(folder) as application, application.relational.read() as tx:
        return tx.one("SELECT count(*) AS n FROM documents")["n"]


def ask(folder: Path) -> str:
    with stopped(folder) as application, serving_in_background(application) as address:
        client = Client(address, local_access(application, folder).key)
        try:
            return said(client)
        finally:
            client.close()


def with_files_up_to(size: int, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A limit on the size of files stands in for a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        [PEGASUS, *arguments, "--data", str(data)],
        env=environment(data), capture_output=True, text=True, check=False, preexec_fn=limit, timeout=100,
    )  # fmt: skip


class TestFullDisk:
    @pytest.mark.parametrize("encrypted", [False, True])
    def test_a_backup_says_so_and_leaves_nothing(self, filled: Path, tmp_path: Path, *, encrypted: bool) -> None:
        folder, archives = tmp_path / "data", tmp_path / "archives"
        copied(filled, folder)
        archives.mkdir()
        with stopped(folder) as application:
            workspace_id = local_access(application, folder).workspace_id
            key, sha256, size = application.files.put(
                workspace_id, io.BytesIO(random.Random(0).randbytes(10**6)), 10**7
            )
            with application.relational.write() as tx:
                new = documents.NewDocument("Large", sha256, size, filename="large.bin", file_key=key)
                documents.add(tx, workspace_id, new)
        recipient = ["--recipient", str(pyrage.x25519.Identity.generate().to_public())] if encrypted else []
        arguments = ["backup", str(archives / "a"), *recipient]
        done = with_files_up_to(200_000, folder, *arguments)
        assert (done.returncode, "free space" in done.stderr) == (1, True), done.stderr
        assert list(archives.iterdir()) == []
        assert with_files_up_to(10**8, folder, *arguments).returncode == 0

    @pytest.mark.parametrize("size", [10_000, 100_000, 300_000])
    def test_a_restore_says_so_and_leaves_nothing(self, size: int, saved: Path, tmp_path: Path) -> None:
        """Whichever store meets the full disk first."""
        data = one_machine(tmp_path / "data")
        done = with_files_up_to(size, data, "restore", str(saved))
        assert done.returncode in (1, 2)
        assert "Error: " in done.stderr
        assert "Traceback" not in done.stderr
        assert {path.name for path in data.iterdir()} == {"lock"}
        assert command(data, "restore", str(saved)).returncode == 0


def test_a_directory_that_cannot_be_written_is_said(filled: Path) -> None:
    done = command(filled, "backup", "/proc/none/a")
    assert (done.returncode, "cannot be written" in done.stderr) == (1, True)
