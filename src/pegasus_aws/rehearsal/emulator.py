"""The emulator of AWS: ministack, pinned, in an environment and a process of its own, on loopback only.

Whoever is handed its variables talks to it as to AWS; nothing else tells a rehearsal from the real thing.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pegasus_aws
from pegasus.errors import Unavailable
from pegasus_aws.environments import Environment
from pegasus_aws.programs import programs_of

ACCOUNT = "000000000000"
_START_SECONDS, _STOP_SECONDS = 60.0, 60.0


@dataclass(frozen=True, slots=True)
class Emulator:
    endpoint: str
    region: str
    log: Path
    process: int

    @property
    def variables(self) -> Mapping[str, str]:
        """What makes boto3, and whoever uses it, talk to this instead of AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def running_emulator(
    folder: Path, environment: Environment, *, engine: str | None = None, mended: bool = True
) -> Iterator[Emulator]:
    """The emulator for as long as the block lasts, with an empty account for that environment; its log stays.

    With the address of a container engine, of the form that DOCKER_HOST has, tasks run in there; without one it says of
    each that it does not. Without ``mended`` it is as its makers made it, for tests that show why it is not used so.
    Raises ``NotInstalled`` where it cannot be had, ``Unavailable`` where it does not start.
    """
    python = programs_of("emulator") / "python"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "emulator.log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as output:
        port = listener.getsockname()[1]
        variables = _variables(folder, environment, engine) | {
            "GATEWAY_PORT": str(port),
            "PEGASUS_REHEARSAL_SOCKET": str(listener.fileno()),
            "PEGASUS_REHEARSAL_MENDED": "1" if mended else "",
        }
        process = subprocess.Popen(  # noqa: S603 - a program that was installed by its hashes, and no shell.
            [str(python), "-m", "pegasus_aws.rehearsal.inside"],
            cwd=folder, env=variables, stdin=subprocess.PIPE, stdout=output, stderr=output,
            pass_fds=[listener.fileno()], start_new_session=True,
        )  # fmt: skip
    emulator = Emulator(f"http://127.0.0.1:{port}", environment.region, log, process.pid)
    try:
        _await(emulator, process)
        yield emulator
    finally:
        _stop(process)


def _variables(folder: Path, environment: Environment, engine: str | None) -> dict[str, str]:
    # Only this package is to be seen in there, none of what is installed beside it.
    path = folder / "path"
    path.mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (path / "pegasus_aws").symlink_to(Path(pegasus_aws.__file__).parent, target_is_directory=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PEGASUS_REHEARSAL_ENGINE": engine or "",
        "PEGASUS_REHEARSAL_REGION": environment.region,
        "PEGASUS_REHEARSAL_DOMAIN": environment.domain,
        "PEGASUS_REHEARSAL_ZONE": environment.hosted_zone_id,
        "MINISTACK_REGION": environment.region,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "TMPDIR": str(folder),
        # An engine that was not named is not this one's to touch.
        "DOCKER_HOST": engine or f"unix://{folder / 'no-engine'}",
        # It would listen for these on every address of the machine.
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }


def _await(emulator: Emulator, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{emulator.endpoint}/_ministack/health", timeout=5):  # noqa: S310 - http, ours
            return
        if process.poll() is not None or time.monotonic() > until:
            last = " ".join(emulator.log.read_text(errors="replace").splitlines()[-3:])
            raise Unavailable(f"The emulator does not start: {last[-500:]}", hint=f"See {emulator.log}.")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    # Functions run as processes of its own; they are in its group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()
