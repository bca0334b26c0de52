"""Pegasus as several processes on shared servers, all of them real and on loopback."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import PEGASUS, environment

from pegasus.client import Client

OPERATOR_KEY = "an-operators-key-that-only-the-tests-know"
METRICS_TOKEN = "a-metrics-token-of-the-tests"
PATIENCE_SECONDS = 60


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """What the condition gives once that is something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not after {seconds} s"
        time.sleep(0.02)
    return found


class Part:
    """One process: ``pegasus api``, ``worker`` or ``scheduler``."""

    def __init__(self, role: str, log: Path, settings: dict[str, str]) -> None:
        self.role, self._log, self._settings = role, log, settings
        self.address = ""
        self.process: subprocess.Popen[str] | None = None
        self._clients: list[Client] = []

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.is_file() else ""

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> Part:
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [PEGASUS, self.role, "--port", "0"], env=environment(settings=self._settings), cwd=self._log.parent,
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        return self

    def wait_ready(self) -> Part:
        assert self.process
        assert self.process.stdout
        for line in self.process.stdout:
            if "ready at" in line:
                self.address = line.split("ready at ")[1].split()[0]
                return self
        raise AssertionError(f"{self.role} ended with {self.process.wait(20)}:\n{self.log[-3000:]}")

    def client(self) -> Client:
        self._clients.append(Client(self.address, OPERATOR_KEY))
        return self._clients[-1]

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        assert self.process
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(20)
            if self.process.stdout:
                self.process.stdout.close()

    def clear(self) -> None:
        """Leave nothing of it, however it is."""
        for client in self._clients:
            client.close()
        if self.process:
            self.process.kill()
            self.wait()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.send(number)
        return self.wait()


class Several:
    """Processes that share their servers, started and ended by the test."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder, self.settings = folder, settings
        self.parts: list[Part] = []

    def spawn(self, role: str, **more: str) -> Part:
        part = Part(role, self.folder / f"{role}-{len(self.parts)}.log", {**self.settings, **more})
        self.parts.append(part)
        return part.spawn()

    def start(self, *roles: str, **more: str) -> list[Part]:
        return [part.wait_ready() for part in [self.spawn(role, **more) for role in roles]]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        return subprocess.run(
            [PEGASUS, *arguments], env=environment(settings={**self.settings, **more}), cwd=self.folder,
            capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip


@contextmanager
def several(folder: Path, **servers: str) -> Iterator[Several]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "PEGASUS_FILES_URL": str(folder / "files"),
        "PEGASUS_OPERATOR_KEY": OPERATOR_KEY,
        "PEGASUS_METRICS_TOKEN": METRICS_TOKEN,
        "PEGASUS_DATABASE_CONNECTIONS": "6",
        "PEGASUS_LINGER_SECONDS": "0.2",
        "HOME": str(folder),
        **servers,
    }
    running = Several(folder, settings)
    made = running.run("schema", "upgrade")
    assert made.returncode == 0, made.stderr
    try:
        yield running
    finally:
        for part in running.parts:
            part.clear()
