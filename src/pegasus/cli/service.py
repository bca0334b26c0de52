"""The commands that serve: everything in one process, or one part of it among several."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from pegasus.cli.options import Data, settings_for
from pegasus.errors import Conflict

if TYPE_CHECKING:
    from socket import socket

    from pegasus.bootstrap import Role
    from pegasus.settings import Settings


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Add sample documents and ask a question.")] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default 8000; 0 takes a free one).")] = None,
    data: Data = None,
) -> None:
    """Serve everything in one process, on stores in the data directory."""
    from pegasus.bootstrap import embedded, local_access
    from pegasus.client import Client, running_server
    from pegasus.data_directory import holder
    from pegasus.demo import show_demo
    from pegasus.server import address_of, announced, listen, serve

    settings = settings_for(data=data, host=host, port=port)
    if running := running_server(settings.data):
        raise Conflict(
            f"Pegasus is running on {settings.data} already, at {running} (process {holder(settings.data)}).",
            hint="Use it, stop it, or give another directory with --data.",
        )
    # The port first: it is what most often is not to be had, and the stores take seconds to open.
    with listen(settings.host, settings.port) as bound, embedded(settings, scheduled=True) as application:
        address = address_of(bound)
        access = local_access(application, settings.data)

        def started() -> None:
            print(f"Pegasus is ready at {address}  (API page: {address}/docs)")
            print(f"Data:    {settings.data}")
            print(f"API key: {access.key}  (the command line finds it by itself)", flush=True)
            if told := names_told(settings):
                print(told, flush=True)
            if demo:
                client = Client(address, access.key)
                show_demo(client, print)
                client.close()
            print("Stop with Ctrl-C.", flush=True)

        with announced(settings.data, address):
            serve(application, bound, started)


Host = Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")]
ProbePort = Annotated[
    int | None, typer.Option(help="Port for /health, /ready and /metrics (PEGASUS_PORT; default: a free one).")
]


def api(
    host: Host = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default 8000; 0 takes a free one).")] = None,
) -> None:
    """Serve the HTTP interface, beside workers and a scheduler in other processes, on stores that they share."""
    from pegasus.bootstrap import Role, distributed
    from pegasus.server import listen, serve

    settings = settings_for(host=host, port=port)
    with listen(settings.host, settings.port) as bound, distributed(settings, Role.API) as application:
        serve(
            application, bound, lambda: _announce(Role.API, bound),
            drain_seconds=settings.drain_seconds, linger_seconds=settings.linger_seconds,
        )  # fmt: skip


def worker(host: Host = None, port: ProbePort = None) -> None:
    """Work off jobs: as many at a time as PEGASUS_WORKER_LANES says. Start as many workers as there is work for."""
    from pegasus.bootstrap import Role

    _run_behind(Role.WORKER, host, port)


def scheduler(host: Host = None, port: ProbePort = None) -> None:
    """Start sources when their time comes, see to jobs that were left behind, and tidy up. One is enough; two do no
    harm."""
    from pegasus.bootstrap import Role

    _run_behind(Role.SCHEDULER, host, port)


def _run_behind(role: Role, host: str | None, port: int | None) -> None:
    """Work until a signal ends it, answering only those who ask whether it does."""
    from pegasus.api import create_probes
    from pegasus.bootstrap import distributed
    from pegasus.server import listen, serve

    settings = settings_for(host=host, port=port)
    # Several of them may run on a machine where nobody has chosen ports.
    chosen = settings.port if "port" in settings.model_fields_set else 0
    with listen(settings.host, chosen) as bound, distributed(settings, role) as application:
        serve(application, bound, lambda: _announce(role, bound), create_probes(application), drain_seconds=1)


def _announce(role: Role, bound: socket) -> None:
    from pegasus.server import address_of

    print(f"Pegasus {role} is ready at {address_of(bound)}", flush=True)


def names_told(settings: Settings) -> str | None:
    """Who listens to others must know by which names they can reach it; on loopback there is nothing to tell."""
    try:
        loopback = ip_address(settings.host).is_loopback
    except ValueError:
        loopback = settings.host == "localhost"
    if loopback:
        return None
    names = ", ".join(["localhost", "its IP addresses", *settings.further_hosts])
    return f"Names:   {names}; others are refused (add one: PEGASUS_TRUSTED_HOSTS=nas.local)"
