"""Commands about the audit log."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pegasus.cli.options import Data, Json, client_for, print_json

app = typer.Typer(help="See who did what, and whether the log was tampered with.", no_args_is_help=True)


@app.command("list")
def list_audit_events(
    since: Annotated[str | None, typer.Option(help="Only events at this time or later, as 2026-01-31.")] = None,
    action: Annotated[str | None, typer.Option(help="Only events of this action, as document.erased.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many events to list.")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of digests too; 1 where broken.")] = False,
    noted: Annotated[str | None, typer.Option(help="A head that --verify printed before; it must still be there.")] = (
        None
    ),
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List what was done in the workspace, newest first."""
    given = {"since": since, "action": action, "limit": limit}
    with client_for(data) as client:
        parameters = {name: value for name, value in given.items() if value is not None}
        page = client.call("GET", "/v1/audit", params=parameters)
        chain = client.call("GET", "/v1/audit/chain", params={"noted": noted} if noted else {}) if verify else None
    if as_json:
        print_json(page | ({"chain": chain} if chain else {}))
    else:
        from pegasus.printing import print_audit_events

        print_audit_events(page["items"])
        if chain:
            print(_told(chain), file=sys.stderr)
    if chain and not chain["intact"]:
        raise typer.Exit(1)


def _told(chain: dict[str, object]) -> str:
    if chain["intact"]:
        return f"All {chain['events']} events are as they were written. Note the head elsewhere: {chain['head_sha256']}"
    where = f" (event {chain['broken_at']})" if chain["broken_at"] else ""
    return f"The log is not as it was written{where}: {chain['problem']}"
