"""Commands about workspaces."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pegasus.cli.options import Data, Json, client_for, pages, print_json
from pegasus.errors import Invalid, NotFound
from pegasus.text.lines import visible

if TYPE_CHECKING:
    from pegasus.client import Client

app = typer.Typer(help="Create, list and erase workspaces; each sees nothing of the others.", no_args_is_help=True)


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


@app.command("erase")
def erase_workspace(
    workspace_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id of a workspace; see: pegasus workspaces list.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Erase a workspace with all that is in it, from every store. Its keys open nothing from then on."""
    from pegasus.printing import print_erasure
    from pegasus.upload import follow

    with client_for(data) as client:
        if not yes:
            _confirm(client, workspace_id)
        accepted = client.call("DELETE", f"/v1/workspaces/{workspace_id}")["job"]
        (job,) = follow(client, [accepted["id"]], "Erasing")
        receipt = client.call("GET", f"/v1/erasures/{job['id']}")
    if as_json:
        print_json(receipt)
    else:
        print_erasure(receipt)
    if job["state"] != "succeeded":
        print(f"The job {job['id']} is {job['state']}: {(job['error'] or {}).get('detail', '')}", file=sys.stderr)
        raise typer.Exit(1)


def _confirm(client: Client, workspace_id: str) -> None:
    """Ask the person at the terminal; where there is none, nobody can have meant it without --yes."""
    name = next((w["name"] for w in pages(client, "/v1/workspaces") if w["id"] == workspace_id), None)
    if name is None:
        raise NotFound(f"There is no workspace {workspace_id}.", hint="List them with: pegasus workspaces list")
    if not sys.stdin.isatty():
        raise Invalid("Nobody is there to be asked whether the workspace is to be erased.", hint="Say so with --yes.")
    typer.confirm(f"Erase the workspace {visible(name)!r} with all that is in it, for good?", abort=True, err=True)
