"""The commands for AWS. Commands parse, call and print: data on stdout, progress on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pegasus.cli.options import Json, print_json
from pegasus_aws.options import Env, File, environment_of
from pegasus_aws.release.cli import apply, destroy, history, logs, release, rollback, status, verify

app = typer.Typer(
    help="Pegasus on AWS.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root() -> None:
    """Pegasus on AWS."""


@app.command()
def plan(
    env: Env = "dev",
    file: File = None,
    checkov: Annotated[
        bool, typer.Option(help="Run checkov too, from an environment of its own that is made at the first time.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="Write the templates into this directory.")] = None,
    show_exceptions: Annotated[
        bool, typer.Option("--exceptions", help="Show what departs from a rule, and the reason that is given.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what would be built and what is wrong with it; exit 2 when it may not be applied."""
    from pegasus_aws.plan.planner import make_plan
    from pegasus_aws.plan.report import print_plan, write_templates

    made = make_plan(environment_of(env, file), with_checkov=checkov)
    if out is not None:
        write_templates(made, out)
    if as_json:
        print_json(made.as_dict())
    else:
        print_plan(made, with_exceptions=show_exceptions)
    if not made.may_be_applied:
        raise typer.Exit(2)


for command in (apply, release, rollback, status, history, verify, logs, destroy):
    app.command()(command)
