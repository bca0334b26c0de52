"""An estimate: what each resource costs a month, and the sums of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pegasus_aws.cost.charges import RULES, Charge, Json, Resource, System
from pegasus_aws.cost.free import FREE
from pegasus_aws.environments import Environment
from pegasus_aws.prices.book import Factor, Price, PriceBook


@dataclass(frozen=True, slots=True)
class Line:
    stack: str
    service: str
    what: str
    resources: tuple[str, ...]
    quantity: float
    price: Price
    factor: Factor | None

    @property
    def monthly_usd(self) -> float:
        """In whole cents, so that however lines are put together their sums are the same."""
        return round(self.quantity * self.price.usd * (self.factor.factor if self.factor else 1), 2)

    @property
    def verified(self) -> bool:
        return self.price.verified and (self.factor is None or self.factor.verified)

    @property
    def source(self) -> str:
        """Where the price comes from, and of when; for Spot also its factor."""
        return ", x ".join(_said(row) for row in (self.price, self.factor) if row)

    def as_dict(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "service": self.service,
            "what": self.what,
            "resources": list(self.resources),
            "quantity": round(self.quantity, 4),
            "unit": self.price.unit,
            "unit_usd": self.price.usd,
            "factor": self.factor.factor if self.factor else None,
            "monthly_usd": self.monthly_usd,
            "price": self.price.item,
            "source": self.source,
            "verified": self.verified,
        }


@dataclass(frozen=True, slots=True)
class Commitment:
    """What would be paid for a year's promise; no factor where no source says."""

    service: str
    on_demand_usd: float
    factor: Factor | None

    @property
    def committed_usd(self) -> float | None:
        return round(self.on_demand_usd * self.factor.factor, 2) if self.factor else None

    @property
    def source(self) -> str | None:
        return f"{self.factor.means}: {_said(self.factor)}" if self.factor else None

    def as_dict(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "on_demand_usd": self.on_demand_usd,
            "committed_usd": self.committed_usd,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    environment: Environment
    book: PriceBook
    lines: tuple[Line, ...]
    missing: tuple[tuple[str, str], ...]  # (resource, item) of what the book has no price for,
    unknown: tuple[tuple[str, str], ...]  # (resource, type) of what nobody has said the cost of.
    warnings: tuple[str, ...]

    @property
    def monthly_usd(self) -> float:
        return _sum(self.lines)

    @property
    def unpriced(self) -> tuple[str, ...]:
        """What is not in the total, which is too low by that."""
        return (
            *(f"{resource}: the price book has no {item}" for resource, item in self.missing),
            *(f"{resource}: nobody has said what {kind} costs" for resource, kind in self.unknown),
        )

    @property
    def within_budget(self) -> bool:
        return self.monthly_usd <= self.environment.budget.most_usd

    def by_service(self) -> dict[str, float]:
        """Most first."""
        return self._by("service")

    def by_stack(self) -> dict[str, float]:
        return self._by("stack")

    def _by(self, what: str) -> dict[str, float]:
        groups: dict[str, list[Line]] = {}
        for line in self.lines:
            groups.setdefault(getattr(line, what), []).append(line)
        return dict(sorted(((name, _sum(lines)) for name, lines in groups.items()), key=lambda one: -one[1]))

    def sources(self) -> dict[str, str]:
        """Those that the lines come from, by the names that the lines have for them."""
        used = {row.source for line in self.lines for row in (line.price, line.factor) if row}
        return {name: text for name, text in self.book.sources.items() if name in used}

    def commitments(self) -> list[Commitment]:
        """What runs all month by the hour, where a promise for a year costs less; Spot takes no such promise."""
        hourly = {"fargate.": "ECS on Fargate", "rds.db.": "RDS", "valkey.cache.": "ElastiCache"}
        hourly |= {"neptune.ncu": "Neptune", "ec2.": "EC2"}
        found = []
        for begin, service in hourly.items():
            lines = [one for one in self.lines if one.price.item.startswith(begin) and one.factor is None]
            factors = [
                one for name, one in self.book.factors.items() if name.startswith("reserved") and one.of == begin
            ]
            if lines:
                found.append(Commitment(service, _sum(lines), factors[0] if factors else None))
        return found

    def as_dict(self) -> dict[str, Any]:
        return {
            "environment": self.environment.name,
            "region": self.environment.region,
            "monthly_usd": self.monthly_usd,
            "budget": self.environment.budget.model_dump(),
            "within_budget": self.within_budget,
            "by_service": self.by_service(),
            "by_stack": self.by_stack(),
            "lines": [line.as_dict() for line in self.lines],
            "commitments": [one.as_dict() for one in self.commitments()],
            "unpriced": list(self.unpriced),
            "usage": self.environment.usage.model_dump(),
            "prices": {"region": self.book.region, "read": self.book.read.isoformat(), "sources": self.sources()},
            "warnings": list(self.warnings),
        }


def estimate(environment: Environment, templates: Mapping[str, Json], book: PriceBook, today: date) -> Estimate:
    """What these templates cost a month when they are used as the environment assumes."""
    lines: dict[tuple[str | None, ...], Line] = {}
    missing, unknown = [], []
    for resource in System(templates, environment.usage).resources():
        if resource.type not in RULES and resource.type not in FREE:
            unknown.append((resource.path, resource.type))
        for charge in RULES[resource.type](resource) if resource.type in RULES else ():
            price = book.prices.get(charge.item)
            if price is None:
                missing.append((resource.path, charge.item))
            elif charge.quantity:
                _put(lines, resource, charge, price, book.factors[charge.factor] if charge.factor else None)
    warnings = book.warnings(environment.region, today)
    return Estimate(environment, book, tuple(lines.values()), tuple(missing), tuple(unknown), warnings)


def _put(lines: dict[tuple[str | None, ...], Line], resource: Resource, charge: Charge, price: Price,
         factor: Factor | None) -> None:  # fmt: skip
    """One line for all of a kind in a stack: fifteen alarms are one line."""
    key = (resource.stack, charge.service, charge.what, charge.item, charge.factor)
    before = lines.get(key)
    resources = (*before.resources, resource.name) if before else (resource.name,)
    quantity = charge.quantity + (before.quantity if before else 0)
    lines[key] = Line(resource.stack, charge.service, charge.what, resources, quantity, price, factor)


def _said(row: Price | Factor) -> str:
    mark = "" if row.verified else ", unverified"
    return f"{row.source} {row.date}{mark}" + (f" ({row.note})" if row.note else "")


def _sum(lines: Sequence[Line]) -> float:
    return round(sum(line.monthly_usd for line in lines), 2)
