"""Commands about the schema of the rows, which a new version brings forward before it is rolled out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pegasus.cli.options import Data, Json, print_json, progress_bars, quiet_settings

app = typer.Typer(help="See the schema of the rows and bring it forward.", no_args_is_help=True)


@app.command()
def upgrade(
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Contract steps, too: no older version runs or will be gone back to."),
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Bring the schema forward while the version before this one runs; contract steps wait for --contract."""
    from pegasus.bootstrap import rows
    from pegasus.migrations import plan
    from pegasus.printing import print_schema, print_steps

    # Where nobody looks at a bar, the log tells how it goes on.
    log_level = "warning" if sys.stderr.isatty() else "info"
    with rows(quiet_settings(data, log_level)) as relational:
        with progress_bars() as progress:
            steps = plan.upgrade(relational, contract=contract, progress=progress)
        taken = [plan.step_report(step) for step in steps]
        report = {"taken": taken, **plan.report(relational.schema())}
    if as_json:
        print_json(report)
    else:
        print_steps("Taken", taken)
        print_schema(report)


@app.command()
def roles(
    logins: Annotated[
        list[str] | None,
        typer.Argument(help="Further logins, made without a password, for who changes passwords by turns."),
    ] = None,
    owner: Annotated[
        str, typer.Option(help="The role that owns the database, and as which all logins act.")
    ] = "pegasus",
    as_json: Json = False,
) -> None:
    """Make the login of DATABASE_URL in PostgreSQL, as its administrator; harmless where it is there."""
    from pegasus.bootstrap import make_roles
    from pegasus.printing import print_roles

    report = make_roles(quiet_settings(None), logins or [], owner)
    if as_json:
        print_json(report)
    else:
        print_roles(report)


@app.command()
def current(data: Data = None, as_json: Json = False) -> None:
    """Show the schema's revision, this version's, and the steps between them."""
    from pegasus.bootstrap import rows
    from pegasus.migrations import plan
    from pegasus.printing import print_schema

    with rows(quiet_settings(data)) as relational:
        report = plan.report(relational.schema())
    if as_json:
        print_json(report)
    else:
        print_schema(report)


@app.command()
def check(data: Data = None, as_json: Json = False) -> None:
    """Is the schema what this version's steps make it, with none pending? Exits 1 when it is not."""
    from pegasus.bootstrap import rows
    from pegasus.migrations import plan
    from pegasus.printing import print_drift, print_schema

    with rows(quiet_settings(data)) as relational:
        report = plan.report(relational.schema())
        # Of a newer schema's steps this version knows nothing.
        drift = [] if report["newer"] else list(relational.drift())
    in_step = not (drift or report["pending"] or report["newer"])
    if as_json:
        print_json({**report, "drift": drift, "in_step": in_step})
    else:
        print_schema(report)
        print_drift(drift)
    if not in_step:
        raise typer.Exit(1)
