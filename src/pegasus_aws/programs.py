"""Programs that could not be installed beside Pegasus, each in an environment of its own.

The environment is made at the first time from a list that comes with Pegasus, pinned with hashes. It belongs to that
list: another list is another environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from importlib.resources import files
from pathlib import Path

from pegasus.errors import Unavailable

_INSTALL_SECONDS = 600
_PIP = ("--quiet", "--disable-pip-version-check", "--no-input")


class NotInstalled(Unavailable):
    """The environment cannot be made here; the detail says why."""


def programs_of(name: str) -> Path:
    """The folder with the programs that ``NAME.lock`` pins. Raises ``NotInstalled``."""
    lock = files("pegasus_aws").joinpath(f"{name}.lock").read_bytes()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = _cache() / f"{name}-{hashlib.sha256(lock).hexdigest()[:16]}-{version}"
    if not (folder / "complete").is_file():
        _install(name, folder, lock)
    return _programs(folder)


def _programs(folder: Path) -> Path:
    return folder / ("Scripts" if os.name == "nt" else "bin")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pegasus"


def _install(name: str, folder: Path, lock: bytes) -> None:
    print(f"Installing {name} into an environment of its own; this is done once.", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
        lock_file = folder / f"{name}.lock"
        lock_file.write_bytes(lock)
        subprocess.run(  # noqa: S603 - this Python's own pip.
            [str(_programs(folder) / "python"), "-m", "pip", "install", *_PIP, "--require-hashes",
             "--requirement", str(lock_file)],
            capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = (error.stderr or "").strip().splitlines()[-1:] or ["pip failed"]
        raise NotInstalled(f"{name} could not be installed ({why[0][:200]}).", hint=_HINT) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotInstalled(f"{name} could not be installed ({error}).", hint=_HINT) from error
    (folder / "complete").touch()


_HINT = "Do it again where pip reaches its index."
