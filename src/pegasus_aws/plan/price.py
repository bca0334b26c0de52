"""What an environment costs, and whether that is within its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from pegasus.errors import Misconfigured
from pegasus_aws.clients.cloudformation import has_credentials
from pegasus_aws.clients.pricing import PriceList
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.cost import Estimate, estimate
from pegasus_aws.cost.charges import Json
from pegasus_aws.environments import Environment
from pegasus_aws.plan.findings import Finding, NotRun
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.prices.book import PriceBook, book_for, cached, written
from pegasus_aws.prices.refresh import Refreshed, refreshed

# What to change where a service costs too much.
_LEVERS: Mapping[str, str] = {
    "ECS on Fargate": "cpu, memory_mb and least of api and worker, or architecture",
    "RDS": "database.size, database.multi_az",
    "ElastiCache": "size and replicas of broker and cache",
    "Neptune": "graph.least_ncu, graph.replicas, or graph.engine",
    "EC2": "graph.size",
    "VPC": "network.nat_gateways",
}
_NAMED = 3


def estimate_of(
    environment: Environment, book: PriceBook, stacks: Sequence[Stack] | None = None, day: date | None = None
) -> Estimate:
    """From the templates, which are made here unless they are there already."""
    templates: dict[str, Json] = {stack.name: stack.template.to_dict() for stack in stacks or synthesise(environment)}
    return estimate(environment, templates, book, day or today())


def today() -> date:
    return datetime.now(UTC).date()


def refresh(region: str, wanted: Sequence[Environment]) -> Refreshed:
    """Newer prices of a region, of sizes too that only these environments have; they are kept for the next time.

    Raises ``Misconfigured``, and ``Unavailable`` when the list does not answer.
    """
    if not has_credentials():
        raise Misconfigured(
            "AWS's price list answers only those who have credentials, and there are none.",
            hint="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; pegasus aws cost needs none.",
        )
    book = book_for(region)
    missing = {item for one in wanted for _, item in estimate_of(one, book).missing}
    done = refreshed(book, region, sorted(missing), PriceList().products, today())
    _keep(done.book)
    return done


def _keep(book: PriceBook) -> None:
    """Whoever reads it meanwhile has the old one or the new one, whole."""
    file = cached(book.region)
    new = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(written(book), "utf-8")
        new.replace(file)
    except OSError as error:
        hint = "Name a directory that can be written to in XDG_CACHE_HOME."
        raise Misconfigured(f"The prices cannot be kept in {file}: {error}.", hint=hint) from error


def over_budget(found: Estimate) -> list[Finding]:
    """Raises ``NotRun`` where the known part is within the budget and another part has no price."""
    most = found.environment.budget.most_usd
    if not found.within_budget:
        return [
            Finding(
                check="price",
                rule="budget",
                stack="all",
                resource="budget",
                message=f"It costs {found.monthly_usd:,.0f} USD a month; the budget is {most:,.0f}. {_most(found)}.",
                hint=f"Change {_levers(found)}; pegasus aws cost --what-if KEY=VALUE shows what that saves. Or raise "
                "budget.most_usd.",
            )
        ]
    if found.unpriced:
        raise NotRun(
            f"{found.monthly_usd:,.0f} USD a month without what has no price: {'; '.join(found.unpriced)}. "
            "With credentials pegasus aws cost --refresh asks for it."
        )
    return []


def _dearest(found: Estimate) -> list[tuple[str, float]]:
    return [one for one in found.by_service().items() if one[0] in _LEVERS][:_NAMED]


def _most(found: Estimate) -> str:
    return ", ".join(f"{service} {usd:,.0f}" for service, usd in _dearest(found))


def _levers(found: Estimate) -> str:
    return "; ".join(_LEVERS[service] for service, _ in _dearest(found))
