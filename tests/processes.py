"""Pegasus as its users run it: a process of its own, which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tier import environment_of

from pegasus.client import Client, local_key

PEGASUS = str(Path(sys.executable).with_name("pegasus"))


def environment(data: Path | None = None, settings: Mapping[str, str] = {}) -> dict[str, str]:
    """The test's environment with Pegasus' settings replaced, for this data directory; the quick embedder unless told
    otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PEGASUS_")}
    usual = {"PEGASUS_EMBEDDER": "hash", "PEGASUS_LOG_LEVEL": "warning"}
    return {**kept, **usual, **environment_of(data), **settings}


def command(data: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [PEGASUS, *arguments, "--data", str(data)],
        env=environment(data, settings), capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


class ServerProcess:
    """``pegasus up`` on a data directory; it is started again on the same one after each end."""

    def __init__(self, data: Path, log: Path | None = None, **settings: str) -> None:
        self.data, self._settings = data, settings
        self._log = log or data.with_suffix(".log")
        self.process: subprocess.Popen[str] | None = None
        self.address = ""

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.is_file() else ""

    def spawn(self) -> None:
        """Start it in a process group of its own, without waiting for it."""
        if self.process and self.process.stdout:
            self.process.stdout.close()
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [PEGASUS, "up", "--port", "0", "--data", str(self.data)],
                env=environment(self.data, self._settings), stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True,
            )  # fmt: skip

    def wait_ready(self) -> bool:
        """True once it answers; False when it has ended instead."""
        assert self.process
        assert self.process.stdout
        for line in self.process.stdout:
            if "ready at" in line:
                self.address = line.split("ready at ")[1].split()[0]
                return True
        return False

    def start(self) -> Client:
        self.spawn()
        assert self.wait_ready(), f"it ended with {self.end(signal.SIGKILL)}:\n{self.log[-3000:]}"
        return self.client()

    def client(self) -> Client:
        return Client(self.address, local_key(self.data))

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_seconds: float = 60) -> int | None:
        """Send a signal and wait for the end; the exit status. It may have ended already."""
        if self.process is None:
            return None
        try:
            self.process.send_signal(number)
            self.process.wait(timeout_seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()
        return self.process.returncode
