"""Starts a Chroma server that has its directory for itself: ``python -m pegasus.vector_server --data DIR``.

Chroma takes no lock of its own, and two of them on one directory silently lose embeddings: a task on EFS that is
replaced while the old one still stops, or somebody's second start. The lock is handed to Chroma itself, which takes
this process's place: it lasts exactly as long as the server does, however that ends.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from pegasus.data_directory import locked
from pegasus.errors import PegasusError


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m pegasus.vector_server", description="Run a Chroma server.")
    parser.add_argument("--data", type=Path, required=True, help="its directory, which no other process may use")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; Chroma asks nobody for a key")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    try:
        lock = locked(given.data.absolute())
    except PegasusError as error:
        print(f"{error.detail} {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    os.set_inheritable(lock.fileno(), True)
    chroma = Path(sys.executable).with_name("chroma")
    place = ("--path", str(given.data.absolute()), "--host", given.host, "--port", str(given.port))
    os.execv(chroma, (str(chroma), "run", *place))  # noqa: S606 - a program of our own installation, and no shell


if __name__ == "__main__":
    main()
