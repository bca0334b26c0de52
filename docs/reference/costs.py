"""The page that says what the environments which come with Pegasus cost, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from docs.reference.markdown import MARK, code, table
from pegasus_aws.cost import Estimate
from pegasus_aws.diagram.costs import draw
from pegasus_aws.environments import ENVIRONMENTS
from pegasus_aws.plan.price import estimate_of
from pegasus_aws.prices.book import shipped

_BOOK = "../../src/pegasus_aws/prices/us-east-1.toml"


def costs_picture() -> str:
    return draw(_estimates(), list(ENVIRONMENTS))


def costs_page() -> str:
    estimates = _estimates()
    book = estimates[0].book
    head = (
        "# What it costs on AWS\n\n"
        f"USD a month by the [price book]({_BOOK}) of {book.region}, whose rows were last looked at on {book.read}, "
        "without what is free up to some amount. Sizes are those of the templates; use is assumed, and the assumptions "
        "are values of the environment: `[usage]` in [environment.toml](environment.toml). "
        "[How to know the cost](../how-to/know-the-cost.md) of others, and why these: "
        "[decision 23](../decisions/0023-what-it-costs.md).\n\n"
        "![What dev and production cost, against their budgets and by service](../pictures/costs.svg)\n\n"
    )
    sources = {name: text for one in estimates for name, text in one.sources().items()}
    foot = "## Sources\n\n" + table(("name", "what it is"), ((code(name), text) for name, text in sources.items()))
    return (MARK + head + "".join(map(_environment, estimates)) + foot).rstrip("\n") + "\n"


@cache
def _estimates() -> list[Estimate]:
    """By the book that comes with Pegasus, as of the day on which it was read: the page changes with nothing else."""
    book = shipped()
    return [estimate_of(environment, book, day=book.read) for environment in ENVIRONMENTS.values()]


def _environment(found: Estimate) -> str:
    budget = found.environment.budget
    band = f"{budget.least_usd:,.0f} to {budget.most_usd:,.0f}"
    head = f"## {found.environment.name}\n\n{found.monthly_usd:,.2f} USD a month; the budget is {band}.\n\n"
    columns = ("stack", "service", "what", "quantity", "unit", "price", "USD", "price from")
    return head + table(columns, _lines(found))


def _lines(found: Estimate) -> Iterator[Sequence[str]]:
    for line in found.lines:
        price = f"{line.price.usd:g}" + (f" x {line.factor.factor:g}" if line.factor else "")
        yield (
            line.stack, line.service, line.what, f"{line.quantity:,.2f}", line.price.unit, price,
            f"{line.monthly_usd:,.2f}", line.source,
        )  # fmt: skip
