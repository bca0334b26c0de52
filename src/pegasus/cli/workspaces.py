"""Commands about workspaces."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pegasus.cli.options import Data, Json, client_for, pages, print_json

app = typer.Typer(help="Create and list workspaces; each sees nothing of the others.", no_args_is_help=True)


@app.command("create")
def create_workspace(
    name: Annotated[str, typer.Argument(help="The person or group that it is for.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Create an empty workspace and print its first key, which cannot be shown again."""
    with client_for(data) as client:
        made = client.call("POST", "/v1/workspaces", json={"name": name})
    if as_json:
        print_json(made)
    else:
        print(made["key"]["key"])
        print(f"The workspace {made['workspace']['id']} is made; this is its first key.", file=sys.stderr)
        print("Keep it: it is not shown again. Use it with: PEGASUS_KEY=KEY pegasus ...", file=sys.stderr)


@app.command("list")
def list_workspaces(data: Data = None, as_json: Json = False) -> None:
    """List workspaces, newest first."""
    with client_for(data) as client:
        workspaces = list(pages(client, "/v1/workspaces"))
    if as_json:
        print_json(workspaces)
        return
    from pegasus.printing import print_workspaces

    print_workspaces(workspaces)
