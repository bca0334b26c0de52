"""Builds the images of Pegasus and of its Chroma server, and tells what is in them: ``python -m containers.image``."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from containers.engine import ROOT, CommandFailed, Engine, engine_for, say
from containers.stand_ins import pip_secrets, provide

# Target of the Dockerfile: the name that compose.yaml knows the image by.
IMAGES = {"pegasus": "pegasus:local", "vectors": "pegasus-vectors:local"}
# The image over the base with the locked packages in it, as pip puts them there.
MOST = 1.1
_BUILD_SECONDS = 1_200
_SHOWN = 8

# Each package's files by its own record, with their bytecode; what no record names is ours.
_WEIGH = """
import importlib.metadata, json, pathlib, sys
sizes = {}
for package in importlib.metadata.distributions():
    files = {pathlib.Path(file.locate()).resolve() for file in package.files or ()}
    for file in [file for file in files if file.suffix == ".py"]:
        files.update(file.parent.glob(f"__pycache__/{file.stem}.*.pyc"))
    sizes[package.name] = sum(file.stat().st_size for file in files if file.is_file())
json.dump(sizes, sys.stdout)
"""


def build(engine: Engine) -> None:
    version = _printed("sed", "-n", 's/^__version__ = "\\(.*\\)"/\\1/p', "src/pegasus/__init__.py")
    revision = _printed("git", "rev-parse", "HEAD")
    provide(engine)
    with tempfile.TemporaryDirectory() as folder:
        for target, image in IMAGES.items():
            engine.build(
                # An engine of our own has no bridge that builds could use.
                *(("--network", "host") if engine.own else ()), *pip_secrets(Path(folder)),
                "--build-arg", f"VERSION={version}", "--build-arg", f"REVISION={revision}",
                "--target", target, "--tag", image, ".", seconds=_BUILD_SECONDS,
            )  # fmt: skip


def _printed(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def ratio(engine: Engine, target: str) -> float:
    """How much larger an image is than its base with its packages. Prints what is in it."""
    image = IMAGES[target]
    layers = [int(size) for size in engine.docker("history", "--human=false", "--format={{.Size}}", image).split()]
    whole, base = sum(layers), _size(engine, base_image())
    python = "/opt/pegasus/bin/python" if target == "pegasus" else "/opt/chroma/bin/python"
    weighed = ("run", "--rm", "--network", "none", "--read-only", "--entrypoint", python, image, "-c", _WEIGH)
    sizes: dict[str, int] = json.loads(engine.docker(*weighed))
    ours = sizes.pop("pegasus", 0)
    packages = sum(sizes.values())
    result = whole / (base + packages)
    print(f"{image}: {_mb(whole)} = {_mb(base)} base{' (a stand-in)' if engine.own else ''} + {_mb(packages)} packages"
          f" + {_mb(ours)} Pegasus + {_mb(whole - base - packages - ours)} other; {result:.3f} of base and packages"
          f" (at most {MOST})")  # fmt: skip
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_SHOWN]
    print(f"  {len(sizes)} packages, the largest: {', '.join(f'{name} {_mb(size)}' for name, size in largest)}")
    return result


def base_image() -> str:
    first = next(line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ARG BASE="))
    return first.removeprefix("ARG BASE=")


def _size(engine: Engine, image: str) -> int:
    return int(engine.docker("image", "inspect", "--format={{.Size}}", image))


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def main() -> None:
    with engine_for("No image was built.") as engine:
        build(engine)
        too_large = [target for target in IMAGES if ratio(engine, target) > MOST]
        if too_large:
            raise CommandFailed(f"Too large: {', '.join(too_large)}. Next: find what is in there that no package owns.")
        say("Both images are built.")


if __name__ == "__main__":
    main()
