"""checkov, in an environment of its own: beside boto3 and networkx of this one it could not be installed.

The environment is made at the first time from a list of its own, pinned with hashes, that comes with Pegasus. Where it
cannot be made the check is skipped, and the plan says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pegasus_aws.plan.findings import Finding, NotRun
from pegasus_aws.plan.policy.system import System

_INSTALL_SECONDS, _RUN_SECONDS = 600, 300
_PIP = ("--quiet", "--disable-pip-version-check", "--no-input")


def check_with_checkov(system: System) -> list[Finding]:
    """Raises ``NotRun`` when checkov cannot be had or does not answer."""
    program = _installed()
    with tempfile.TemporaryDirectory() as folder:
        for stack, template in system.templates.items():
            (Path(folder) / f"{stack}.json").write_text(json.dumps(template), "utf-8")
        return list(_findings(_run(program, folder)))


def _run(program: Path, folder: str) -> Any:
    # Without --skip-download it asks its maker's servers for more rules.
    arguments = ("--directory", folder, "--framework", "cloudformation", "--output", "json", "--quiet", "--compact")
    command = [str(program), *arguments, "--skip-download", "--soft-fail"]
    # Nothing of ours: neither our modules nor credentials are its to see.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - a program that was installed by its hashes, and no shell.
            command, capture_output=True, text=True, timeout=_RUN_SECONDS, env=environment, check=False
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise NotRun(f"checkov gave no answer within {_RUN_SECONDS} s.") from error
    except ValueError as error:
        raise NotRun(f"checkov ended without a report: {done.stderr.strip()[-300:]}") from error


def _findings(report: Any) -> Iterator[Finding]:
    for framework in report if isinstance(report, list) else [report]:
        # An empty report has no results; it would mean that no template was looked at.
        results: Mapping[str, Any] | None = framework.get("results")
        if results is None:
            raise NotRun("checkov looked at no template.")
        for error in results.get("parsing_errors", []):
            yield Finding("checkov", "parsing", Path(error).stem, "template", "checkov cannot read it.", "Mend it.")
        for failed in results["failed_checks"]:
            yield Finding(
                check="checkov",
                rule=failed["check_id"],
                stack=Path(failed["file_path"]).stem,
                resource=failed["resource"].rpartition(".")[2],
                message=failed["check_name"],
                hint=f'Mend the resource, or say why it is so with because({failed["check_id"]}="...").',
            )


def _installed() -> Path:
    """checkov's program. An environment belongs to one list: another list is another environment."""
    lock = files("pegasus_aws").joinpath("checkov.lock").read_bytes()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(lock).hexdigest()[:16]
    folder = _cache() / f"checkov-{digest}-{version}"
    program = folder / ("Scripts" if os.name == "nt" else "bin") / "checkov"
    if not (folder / "complete").is_file():
        _install(folder, lock)
    return program


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pegasus"


def _install(folder: Path, lock: bytes) -> None:
    print("Installing checkov into an environment of its own; this is done once.", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
        lock_file = folder / "checkov.lock"
        lock_file.write_bytes(lock)
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        subprocess.run(  # noqa: S603 - this Python's own pip.
            [str(python), "-m", "pip", "install", *_PIP, "--require-hashes", "--requirement", str(lock_file)],
            capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = (error.stderr or "").strip().splitlines()[-1:] or ["pip failed"]
        raise NotRun(
            f"checkov could not be installed ({why[0][:200]}). Plan again where pip reaches its index."
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotRun(f"checkov could not be installed ({error}). Plan again where pip reaches its index.") from error
    (folder / "complete").touch()
