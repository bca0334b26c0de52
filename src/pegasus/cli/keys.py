"""Commands about API keys."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer

from pegasus.cli.options import Data, Json, client_for, pages, print_json, settings_for

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The id of a key; see: pegasus keys list.")]


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="The app or person that will use it.")],
    scope: Annotated[
        Literal["read", "write", "admin", "operator"],
        typer.Option(help="What it may do: read, also write, all of the workspace, or run the installation."),
    ] = "write",
    expires: Annotated[
        str | None, typer.Option(help="Days from now, as 90, or a date, as 2027-01-31; without it, never.")
    ] = None,
    rate: Annotated[str | None, typer.Option(help="A limit of its own, as 60/minute.")] = None,
    max_body_bytes: Annotated[int | None, typer.Option(min=1, help="The largest request that it may send.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Create an API key and print it; it cannot be shown again."""
    given = {"rate_limit": rate, "max_body_bytes": max_body_bytes, **_expiry(expires)}
    body = {"name": name, "scope": scope} | {field: value for field, value in given.items() if value is not None}
    with client_for(data) as client:
        key = client.call("POST", "/v1/keys", json=body)
    if as_json:
        print_json(key)
    else:
        print(key["key"])
        print(f"Keep it: it is not shown again. Revoke it with: pegasus keys revoke {key['id']}", file=sys.stderr)


def _expiry(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    return {"expires_in_days": int(given)} if given.isdecimal() else {"expires_at": given}


@app.command("list")
def list_keys(data: Data = None, as_json: Json = False) -> None:
    """List API keys, newest first."""
    with client_for(data) as client:
        keys = list(pages(client, "/v1/keys"))
    if as_json:
        print_json(keys)
        return
    from pegasus.printing import print_keys

    print_keys(keys)


@app.command("revoke")
def revoke_key(key_id: KeyId, data: Data = None) -> None:
    """Make a key open nothing from now on."""
    with client_for(data) as client:
        client.call("DELETE", f"/v1/keys/{key_id}")
    print(f"The key {key_id} is revoked.")


@app.command("show-local")
def show_local_key(data: Data = None) -> None:
    """Print the key of this data directory."""
    from pegasus.client import local_key

    print(local_key(settings_for(data=data).data))
