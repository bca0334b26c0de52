"""Stand-ins for the images that Dockerfile and compose.yaml name, for an engine that reaches no registry.

They are made of Debian's packages, with the same names, users and ways to be told a password, so that neither file
differs. They are no measure of the real images: not of their size, nor of what is known to be wrong with them.
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from pathlib import Path

from containers.engine import ROOT, CommandFailed, Engine, run, say

_DEBIAN = "bookworm"
_BASE_SECONDS = 600
# What python:slim has besides Python itself: certificates, time zones, and names of hosts.
_BASE_PACKAGES = "python3,python3-venv,ca-certificates,tzdata,netbase"
_FOLDER = Path(__file__).parent / "stand_ins"


def provide(engine: Engine) -> None:
    """Make what is missing. An engine that is not ours pulls the real ones by itself."""
    if not engine.own:
        return
    python, *servers = _wanted()
    say(f"STAND-IN BASES from Debian's packages, not the real images: {', '.join((python, *servers))}")
    _import_python(engine, python)
    for image in servers:
        _build(engine, image, python)  # What has not changed is in the engine's cache.


def _wanted() -> list[str]:
    """The images by the names that are in use: Python first, which the others are built on."""
    dockerfile, compose = (ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()
    named = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.M) + re.findall(r"^ +image: ([a-z0-9]+:\S+)$", compose, re.M)
    return list(dict.fromkeys(named))


def _import_python(engine: Engine, image: str) -> None:
    recipe = f"stand-in={_DEBIAN}:{_BASE_PACKAGES}"
    if engine.docker("image", "ls", "--quiet", "--filter", f"label={recipe}", image).strip():
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "python.tar"
        say(f"mmdebstrap makes {image} (a minute or two, once)")
        run(
            (
                "mmdebstrap", "--quiet", "--variant=minbase", f"--include={_BASE_PACKAGES}",
                "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
                "--customize-hook=ln -s /usr/bin/python3 $1/usr/local/bin/python3",
                "--customize-hook=ln -s /usr/bin/python3 $1/usr/local/bin/python",
                _DEBIAN, str(archive),
            ),
            engine.environment, _BASE_SECONDS,
        )  # fmt: skip
        engine.docker("import", "--change", 'CMD ["python3"]', "--change", f"LABEL {recipe}", str(archive), image)


def _build(engine: Engine, image: str, python: str) -> None:
    name = image.partition(":")[0]
    if not (_FOLDER / f"{name}.Dockerfile").is_file():
        raise CommandFailed(f"There is no stand-in for {image}. Next: write containers/stand_ins/{name}.Dockerfile.")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        for file in _FOLDER.glob(f"{name}*"):
            (context / file.name).write_bytes(file.read_bytes())
        (context / "requirements.txt").write_text(pins("arcadedb-embedded", "jpype1", "packaging"))
        engine.build(
            "--network", "host", "--build-arg", f"BASE={python}", *pip_secrets(Path(folder)), "--tag", image,
            "--file", str(context / f"{name}.Dockerfile"), str(context),
        )  # fmt: skip


def pins(*names: str) -> str:
    """The requirements of some packages, with their hashes, out of the lock of the tests."""
    blocks = re.split(r"^(?=\S)", (ROOT / "locks" / "dev.lock").read_text(), flags=re.M)
    return "".join(block for block in blocks if re.split("[=;[ ]", block)[0] in names)


def pip_secrets(folder: Path) -> tuple[str, ...]:
    """What lets pip within a build reach the index as pip out here does, where that needs an authority of its own.

    As secrets of the build they are in no layer, and the Dockerfile names no host.
    """
    authorities = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    if not authorities:
        return ()
    file = folder / "pip.conf"
    file.write_text("[global]\ncert = /run/secrets/certificates\n")
    return "--secret", f"id=pip.conf,src={file}", "--secret", f"id=certificates,src={authorities}"
