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
    from hypercorn.config import Config

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

    from pegasus_aws.rehearsal.inside import account, edge, engine, handlers, wraps

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
        if containers:
            _run_in(containers, config)
        elif told["MENDED"]:
            wraps.without_engine()
        asyncio.run(serve(edge.with_names(app, told["REGION"]), config))
    finally:
        if containers:
            engine.remove(containers.client, str(os.getpid()))


def _run_in(containers: Engine, config: Config) -> None:
    from pegasus_aws.rehearsal.inside import health, stability, stores, tasks
    from pegasus_aws.rehearsal.inside.authority import Authority

    authority = Authority()
    root, chain, key = (Path(name).resolve() for name in ("authority.pem", "gateway.pem", "gateway.key"))
    root.write_bytes(authority.pem)
    certificate = authority.certificate(containers.gateway)
    chain.write_bytes(certificate.chain)
    key.touch(mode=0o600)
    key.write_bytes(certificate.key)
    # For tasks, and for nobody else; what they have for AWS's sake takes TLS only.
    config.insecure_bind, config.bind = config.bind, [f"{containers.gateway}:{containers.port}"]
    config.certfile, config.keyfile, config.alpn_protocols = str(chain), str(key), ["http/1.1"]
    tasks.install(containers, root)
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
