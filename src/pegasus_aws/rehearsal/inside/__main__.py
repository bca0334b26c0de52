"""Starts the emulator with what it lacks and what it would pass falsely put right.

It answers on a socket that it is handed, and goes with whoever started it: standard input ends when that does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pegasus_aws.rehearsal.inside.engine import Engine

PINNED = "1.5.33"


def main() -> None:
    # Functions of the emulator that are its own affair are replaced: with another version nothing is known of them.
    if (found := version("ministack")) != PINNED:
        sys.exit(f"This rehearsal knows ministack {PINNED}, and this is {found}.")
    threading.Thread(target=_end_with_the_starter, daemon=True).start()

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    from pegasus_aws.rehearsal.inside import account, engine, handlers, wraps

    told = {name: os.environ[f"PEGASUS_REHEARSAL_{name}"] for name in ("REGION", "DOMAIN", "ZONE", "ENGINE", "MENDED")}
    config = Config()
    config.bind = [f"fd://{os.environ['PEGASUS_REHEARSAL_SOCKET']}"]
    config.keep_alive_timeout = 75
    handlers.install()
    account.furnish(told["REGION"], told["DOMAIN"], told["ZONE"])
    containers = engine.start(int(os.environ["GATEWAY_PORT"])) if told["ENGINE"] else None
    try:
        if told["MENDED"]:
            wraps.install()
            _with(containers) if containers else wraps.without_engine()
        if containers:
            config.bind.append(f"{containers.gateway}:{containers.port}")  # For the tasks, and for nobody else.
        asyncio.run(serve(app, config))
    finally:
        if containers:
            engine.remove(containers.client, str(os.getpid()))


def _with(containers: Engine) -> None:
    from pegasus_aws.rehearsal.inside import health, stability, stores, tasks
    from pegasus_aws.rehearsal.inside.authority import Authority

    authority = Authority()
    file = Path("authority.pem").resolve()
    file.write_bytes(authority.pem)
    tasks.install(containers, file)
    health.install(containers)
    stability.install()
    stores.install(containers, authority)


def _end_with_the_starter() -> None:
    # Not by sys.stdin, whose lock a thread would hold when the interpreter goes.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
