"""Runs a command that needs a container engine with the images in it: ``python -m containers.rehearse COMMAND...``.

It is told where the engine is as every client of Docker is, by DOCKER_HOST.
"""

from __future__ import annotations

import subprocess
import sys

from containers.engine import ROOT, engine_for
from containers.image import build


def main() -> None:
    with engine_for("Nothing was run in containers.") as engine:
        build(engine)
        ended = subprocess.run(sys.argv[1:], cwd=ROOT, env=engine.environment, check=False)
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
