"""An estimate for people: lines, sums, and two of them side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pegasus.printing import console, plain, table
from pegasus_aws.cost.comparison import Comparison
from pegasus_aws.cost.estimates import Estimate, Line
from pegasus_aws.prices.refresh import Refreshed


def print_estimate(found: Estimate) -> None:
    out = console()
    out.print(f"[bold]Pegasus {found.environment.name}[/] in {found.environment.region}, USD a month")
    lines = table("stack", "service", "what", "quantity x unit price", "USD", "price from")
    for line in found.lines:
        times = f"{round(line.quantity, 3):,.10g} {line.price.unit} x {line.price.usd:g}"
        times += f" x {line.factor.factor:g}" if line.factor else ""
        lines.add_row(line.stack, line.service, plain(line.what), times, f"{line.monthly_usd:,.2f}", _source(line))
    out.print(lines)
    _sums("by service", found.by_service(), found.monthly_usd)
    _sums("by stack", found.by_stack(), found.monthly_usd)
    _commitments(found)
    _sources(found)
    _total(found)


def _source(line: Line) -> str:
    return plain(line.source) if line.verified else f"[yellow]{plain(line.source)}[/]"


def _sums(title: str, sums: Mapping[str, float], total: float) -> None:
    made = table(title, "USD", "%")
    for name, usd in sums.items():
        made.add_row(name, f"{usd:,.2f}", f"{100 * usd / total:.0f}" if total else "")
    console().print(made)


def _commitments(found: Estimate) -> None:
    made = table("with a promise for a year", "on demand", "promised", "rate from")
    for one in found.commitments():
        promised = "" if one.committed_usd is None else f"{one.committed_usd:,.2f}"
        made.add_row(one.service, f"{one.on_demand_usd:,.2f}", promised, plain(one.source or "no sourced rate"))
    console().print(made)


def _sources(found: Estimate) -> None:
    console().print(f"Prices of {found.book.region}, looked at on {found.book.read}:")
    for name, text in found.sources().items():
        console().print(f"  {name}: {plain(text)}")


def _total(found: Estimate) -> None:
    out, budget = console(), found.environment.budget
    unverified = sum(line.monthly_usd for line in found.lines if not line.verified)
    out.print(f"[bold]{found.monthly_usd:,.2f} USD a month[/], of which {unverified:,.2f} by unverified prices.")
    band = f"{budget.least_usd:,.0f} to {budget.most_usd:,.0f}"
    if not found.within_budget:
        out.print(f"[red]Over the budget of {band}[/]: such a plan may not be applied.")
    elif found.monthly_usd < budget.least_usd:
        out.print(f"Below the budget of {band}: it has forgotten something, or the budget may be smaller.")
    else:
        out.print(f"Within the budget of {band}.")
    _doubts(found)


def _doubts(found: Estimate) -> None:
    for missing in found.unpriced:
        console().print(f"[red]Not in it[/]: {plain(missing)}.")
    for warning in found.warnings:
        console().print(f"[yellow]{plain(warning)}[/]")


def print_comparison(comparison: Comparison) -> None:
    """By service, with what lies between the two."""
    made = table("service", comparison.before.environment.name, plain(comparison.title), "difference")
    for service, both in comparison.by_service().items():
        made.add_row(service, *_compared(*both))
    made.add_row("[bold]total[/]", *_compared(comparison.before.monthly_usd, comparison.after.monthly_usd))
    console().print(made)
    if not comparison.after.within_budget:
        most = comparison.after.environment.budget.most_usd
        console().print(f"[red]Over the budget of {most:,.0f}[/] with {plain(comparison.title)}.")
    _doubts(comparison.after)


def _compared(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:,.2f}", f"{after:,.2f}", f"{after - before:+,.2f}" if after != before else ""


def print_refreshed(refreshed: Refreshed) -> None:
    """Beside the estimate, which is the data."""
    for item, before, now in refreshed.changed:
        print(f"{item}: {now:g}" + ("" if before is None else f", was {before:g}"), file=sys.stderr)
    for item, why in refreshed.kept:
        print(f"{item} stays as it was: {why}.", file=sys.stderr)
    print(f"{len(refreshed.changed)} prices are others than before.", file=sys.stderr)
