"""A container engine to build and test with: your own Docker, or one of Debian's packages while it is needed.

The second is for machines where nobody runs Docker and no registry can be reached, as in CI: dockerd with all that it
has in a folder of its own, which stays for the next run, and stand-ins for the images that would be pulled.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PACKAGES = {"dockerd": "docker.io", "runc": "runc", "iptables": "iptables", "mmdebstrap": "mmdebstrap"}
# Debian's client has BuildKit in it; a later one beside it would want a plugin for that.
_DEBIANS_CLIENT = "/usr/bin/docker"
_APT_SECONDS, _START_SECONDS, _STOP_SECONDS, _COMMAND_SECONDS = 300, 60, 60, 900


class NoEngine(Exception):
    """There is no engine to be had; the text says why and what to do."""


class CommandFailed(Exception):
    """A command of the engine ended in an error; the text is what it printed."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Engine:
    """How to call an engine's client."""

    client: str
    compose: tuple[str, ...]
    environment: dict[str, str]
    own: bool  # Ours: what is in it is nobody's but ours, and no registry is asked.

    def docker(self, *arguments: str, seconds: float = _COMMAND_SECONDS, stdin: str | None = None) -> str:
        """What the client prints. Raises ``CommandFailed``."""
        return run((self.client, *arguments), self.environment, seconds, stdin)

    def build(self, *arguments: str, seconds: float = _COMMAND_SECONDS) -> None:
        """Build an image; what is going on is seen while it does."""
        command = (self.client, "build", "--progress", "plain", *arguments)
        try:
            subprocess.run(command, cwd=ROOT, env=self.environment, check=True, timeout=seconds)
        except subprocess.CalledProcessError as error:
            raise CommandFailed(f"docker build ended with {error.returncode}; see above.") from error


def run(command: tuple[str, ...], environment: dict[str, str], seconds: float, stdin: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=seconds, text=True, check=False, capture_output=True,
        input=stdin or "",
    )  # fmt: skip
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)[:300]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def engine() -> Iterator[Engine]:
    """Your Docker where it answers, else one of our own. Raises ``NoEngine``."""
    if yours := _yours():
        yield yours
    else:
        _install()
        with _started(_folder()) as ours:
            yield ours


@contextmanager
def engine_for(what_was_not_done: str) -> Iterator[Engine]:
    """An engine for a command. Without one it says so loudly and ends, with an error where CI counts on it."""
    try:
        with engine() as found:
            yield found
    except NoEngine as error:
        say(f"\nSKIPPED: {what_was_not_done}\nWhy: {error}\n")
        sys.exit(1 if os.environ.get("CI") else 0)
    except CommandFailed as error:
        say(f"Error: {error}")
        sys.exit(1)


def _yours() -> Engine | None:
    client = shutil.which("docker")
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    if not client:
        return None
    try:
        run((client, "version"), environment, 20)
    except (CommandFailed, subprocess.TimeoutExpired):
        return None
    try:
        run((client, "compose", "version"), environment, 20)
    except CommandFailed:
        return Engine(client, _our_compose(), environment, own=False)
    return Engine(client, (client, "compose"), environment, own=False)


def _our_compose() -> tuple[str, ...]:
    """Compose from the lock, beside this Python."""
    found = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not found:
        raise NoEngine("docker-compose is missing. Next: make compose-test installs it from locks/containers.lock.")
    return (found,)


def _install() -> None:
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    if not missing and Path(_DEBIANS_CLIENT).exists():
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise NoEngine(
            "no Docker answers, and without root on Debian none can be set up here. Next: install and start Docker."
        )
    say(f"No Docker answers here; installing one from Debian's packages: {', '.join(missing)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(("apt-get", "update"), quiet, _APT_SECONDS)
        run(("apt-get", "install", "--yes", "--no-install-recommends", *_PACKAGES.values()), quiet, _APT_SECONDS)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        raise NoEngine(f"{error}\nNext: see what apt-get says, or install and start Docker.") from error


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(cache) / "pegasus-containers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _started(folder: Path) -> Iterator[Engine]:
    """dockerd on a folder, for one run at a time; ended when the block is."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another run has the engine; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        address = f"unix://{folder / 'docker.sock'}"
        ours = Engine(
            _DEBIANS_CLIENT, _our_compose(),
            {**os.environ, "DOCKER_HOST": address, "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(folder / "client")},
            own=True,
        )  # fmt: skip
        _end_left_over(folder / "pid")
        with (folder / "dockerd.log").open("wb") as output:
            # In a session of its own: at Ctrl-C there are containers to remove before it goes.
            daemon = subprocess.Popen(
                (
                    "dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"), "--pidfile",
                    str(folder / "pid"), "--host", address, "--bridge", "none",
                ),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            _await(ours, daemon, folder / "dockerd.log")
            yield ours
        finally:
            daemon.terminate()
            try:
                daemon.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _end_left_over(file: Path) -> None:
    """A killed run leaves its dockerd behind: we have the lock, so it is nobody's."""
    if not file.is_file():
        return
    process = int(file.read_text())
    with suppress(OSError):
        if b"dockerd" in Path(f"/proc/{process}/cmdline").read_bytes():
            os.kill(process, signal.SIGTERM)
            until = time.monotonic() + _STOP_SECONDS
            while Path(f"/proc/{process}").exists() and time.monotonic() < until:
                time.sleep(0.1)


def _await(ours: Engine, daemon: subprocess.Popen[bytes], output: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        with suppress(CommandFailed):
            ours.docker("version")
            return
        if daemon.poll() is not None or time.monotonic() > until:
            last = "\n".join(output.read_text(errors="replace").splitlines()[-5:])
            raise NoEngine(f"dockerd from Debian's packages does not start on this machine:\n{last}")
        time.sleep(0.2)
