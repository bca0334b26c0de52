"""The command that serves."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from pegasus.cli.options import Data, settings_for
from pegasus.errors import Conflict

if TYPE_CHECKING:
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
