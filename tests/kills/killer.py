"""Kills a server, the process that reads its files and the commands beside it, and starts what has to run again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from inspection import Archive, check_archive, unfinished
from ledger import Ledger
from processes import PEGASUS, ServerProcess, command, environment
from workload import Line

_COMMANDS = {"backup": 5, "restore --drill": 2, "compact": 2, "check": 2, "rebuild": 1, "check --repair": 1}
_SETTINGS = {
    "PEGASUS_FETCH_ALLOWED_HOSTS": "127.0.0.1",
    "PEGASUS_RATE_LIMIT": "1000000/minute",
}


@dataclass
class Started:
    """A command that is running beside the server."""

    name: str
    process: subprocess.Popen[str]
    lives: int  # of servers, when it was started
    archive: Archive | None = None
    killed: bool = False


class Killer:
    """Keeps a server running on one directory, and commands beside it, and kills them."""

    def __init__(self, folder: Path, chance: random.Random, line: Line, ledger: Ledger) -> None:
        self._chance, self._line, self._ledger = chance, line, ledger
        self.server = ServerProcess(folder / "data", **_SETTINGS)
        self._archives = folder / "archives"
        self._archives.mkdir()
        self._scratch = folder / "restored"
        self._lives = self._begun = 0
        self._running: list[Started] = []
        self._made: list[Archive] = []
        self.killed, self.struck = Counter[str](), Counter[str]()

    @property
    def data(self) -> Path:
        return self.server.data

    def start(self) -> None:
        """As a supervisor does: a command may have the directory for a moment, so it is tried again."""
        until = time.monotonic() + 60
        self.server.spawn()
        while not self.server.wait_ready():
            status = self.server.end(signal.SIGKILL)
            assert "using" in self.server.log[-1000:], f"it ended with {status}: {self.server.log[-3000:]}"
            assert time.monotonic() < until, "no command lets go of the directory"
            time.sleep(0.1)
            self.server.spawn()
        self._lives += 1
        self._line.connect(self.server.client())

    def stop(self) -> None:
        """Let the server end as it likes to."""
        self._line.connect(None)
        assert self.server.end() == 0, self.server.log[-3000:]

    def kill_one(self, what: str) -> None:
        """One kill, of this or, if there is none of it, of the server."""
        self._reap()
        match what:
            case "command":
                self._kill_command()
            case "reader" if self._kill_reader():
                pass
            case "start":
                self._kill_server()
                self.server.spawn()
                self._wait(0.1, 1.5)
                self._count("start")
                self._kill_process()
                self.start()
            case _:
                if self._chance.random() < 0.3:
                    self._begin()
                self._wait(0.02, 1.2)
                self._kill_server()
                self.start()

    def _wait(self, least: float, most: float) -> None:
        time.sleep(self._chance.uniform(least, most))

    def _count(self, what: str) -> None:
        self.killed[what] += 1
        if what in ("server", "reader"):
            self.struck.update(unfinished(self.data).keys())

    def _kill_server(self) -> None:
        self._count("server")
        self._kill_process()

    def _kill_process(self) -> None:
        self.server.end(signal.SIGKILL)
        self._line.connect(None)

    def _kill_reader(self) -> bool:
        """The process that reads files for the server; there is one once a file has come."""
        until = time.monotonic() + 1.5
        self._wait(0, 0.3)
        while not (children := _children_of(self.server.pid)) and time.monotonic() < until:
            time.sleep(0.01)
        if sum(map(_kill, children)) == 0:
            return False
        self._count("reader")
        return True

    def _kill_command(self) -> None:
        while True:
            started = self._begin()
            self._wait(0.1, 1.5)
            if started.process.poll() is None:
                break
            self._reap()
        self._count(started.name)
        started.killed = True
        started.process.kill()
        started.process.communicate()

    def _begin(self) -> Started:
        (name,) = self._chance.choices(list(_COMMANDS), list(_COMMANDS.values()))
        arguments, archive = name.split(), None
        whole = [archive.path for archive in self._made if archive.after is not None]
        if name == "restore --drill" and whole:
            arguments.append(str(whole[-1]))
        elif name in ("backup", "restore --drill"):
            name, arguments = "backup", ["backup"]
            self._begun += 1
            path = self._archives / str(self._begun)
            archive = Archive(path, self._ledger.settled, self._ledger.gone)
            self._made.append(archive)
            arguments.append(str(archive.path))
        if name == "rebuild":
            arguments.append("vectors")
        process = subprocess.Popen(
            [PEGASUS, *arguments, "--json", "--data", str(self.data)],
            env=environment(self.data, _SETTINGS), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started = Started(name, process, self._lives, archive)
        self._running.append(started)
        return started

    def _reap(self, *, all_of_them: bool = False) -> None:
        """See what commands have said that have ended, or that are to end now."""
        for started in list(self._running):
            if all_of_them or started.process.poll() is not None:
                self._running.remove(started)
                said, error = started.process.communicate(timeout=60)
                if not started.killed:
                    self._judge(started, said, error)

    def _judge(self, started: Started, said: str, error: str) -> None:
        status = started.process.returncode
        assert "Traceback" not in error, error
        if started.archive:
            assert status == 0, error
            started.archive.after = self._ledger.settled
        elif started.name.startswith("check") and status == 1 and "{" in said and "differences" in said:
            raise AssertionError(f"beside the work there were differences: {json.loads(said)['differences']}")
        elif started.lives == self._lives:
            assert status == 0, (started.name, said, error)

    def settle(self) -> None:
        """Let every command come to its end."""
        self._reap(all_of_them=True)

    def check_archives(self) -> None:
        """Each is whole or was never there. What was killed leaves nothing beyond the next backup and drill."""
        last = self._archives / "last"
        for arguments in (("backup", str(last)), ("restore", str(last), "--drill")):
            done = command(self.server.data, *arguments)
            assert done.returncode == 0, done.stderr
        last.unlink()
        for archive in self._made:
            check_archive(archive, self._scratch)
        self._made.clear()
        assert list(self._archives.iterdir()) == []
        assert list(self.server.data.parent.glob("*drill*")) == []

    def end_all(self) -> None:
        """Whatever has happened, nothing of it goes on."""
        self.server.end(signal.SIGKILL)
        for started in self._running:
            started.process.kill()
            started.process.communicate()


def _children_of(pid: int) -> list[int]:
    """The processes that a process has started, as the system tells."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:  # The thread has ended.
            continue
    return found


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
