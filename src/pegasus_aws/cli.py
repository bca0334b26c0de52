"""The commands for AWS. Commands parse, call and print: data on stdout, progress on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
def cost(
    env: Env = "dev",
    file: File = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(help="Another value, as database.size=db.r6g.large, and what difference it makes; several times."),
    ] = None,
    usage: Annotated[
        list[str] | None,
        typer.Option(help="Another assumption about its use, as sent_gb=200; may be given several times."),
    ] = None,
    beside: Annotated[
        str | None, typer.Option(help="Another environment to show beside it: its name, or its file.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw it as bars into this file, as SVG or PNG by its name.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="A price book of your own.")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask AWS's price list first, with credentials, and keep its answers.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what an environment costs a month, line by line; needs no credentials."""
    from pegasus_aws.cost.comparison import Comparison
    from pegasus_aws.cost.report import print_comparison, print_estimate, print_refreshed
    from pegasus_aws.cost.what_if import changed
    from pegasus_aws.diagram.costs import draw
    from pegasus_aws.diagram.drawing import write
    from pegasus_aws.plan.price import estimate_of
    from pegasus_aws.plan.price import refresh as refresh_prices
    from pegasus_aws.prices.book import book_for, load

    if refresh and prices:
        raise typer.BadParameter("--refresh is for the book that comes with Pegasus, not for one of your own.")
    environment = changed(environment_of(env, file), [f"usage.{one}" for one in usage or []])
    others = {", ".join(what_if): changed(environment, what_if)} if what_if else {}
    if beside:
        other = environment_of(beside, Path(beside) if Path(beside).is_file() else None)
        others[other.name] = other
    if refresh:
        print_refreshed(refresh_prices(environment.region, [environment, *others.values()]))
    own = load(prices) if prices else None
    found = estimate_of(environment, own or book_for(environment.region))
    compared = [
        Comparison(title, found, estimate_of(one, own or book_for(one.region))) for title, one in others.items()
    ]
    if picture:
        write(draw([found, *(one.after for one in compared)], [environment.name, *others]), picture)
    if as_json:
        print_json({**found.as_dict(), "compared": [one.as_dict() for one in compared]})
        return
    print_estimate(found)
    for one in compared:
        print_comparison(one)


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


@app.command()
def diagram(
    env: Env = "dev",
    file: File = None,
    kind: Annotated[
        Literal["architecture", "reachability"],
        typer.Option(help="What it is made of, or who can talk to whom on which port."),
    ] = "architecture",
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file, as SVG or PNG by its name; without it SVG is printed.")
    ] = None,
) -> None:
    """Draw a picture of what would be built, from its templates."""
    from pegasus_aws.diagram.drawing import draw, write

    drawn = draw(environment_of(env, file), kind)
    if out is None:
        typer.echo(drawn, nl=False)
    else:
        write(drawn, out)


for command in (apply, release, rollback, status, history, verify, logs, destroy):
    app.command()(command)
