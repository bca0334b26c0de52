"""Newer prices from AWS's own list: each row of the book is asked for, and stays where the answer is not clear."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from pegasus_aws.prices.book import ASKED, Ask, Price, PriceBook, with_prices

Product = Mapping[str, Any]
# (service, filters) -> the products that match all of them.
Products = Callable[[str, Mapping[str, str]], Iterable[Product]]

# Usage types begin with what stands for the region: USE1-, EU-, us-east-1-; in us-east-1 many begin with nothing. What
# begins otherwise is something else: TS-LoadBalancerUsage, ShieldProtected-RuleV2, ExtendedSupportYr3-NodeUsage.
_REGION = r"(?:[A-Z]{3}\d{1,2}-|EU-|[a-z]{2}-[a-z]+-\d-)?"


@dataclass(frozen=True, slots=True)
class Refreshed:
    book: PriceBook
    changed: tuple[tuple[str, float | None, float], ...]  # item, before, now
    kept: tuple[tuple[str, str], ...]  # item, why


def refreshed(book: PriceBook, region: str, wanted: Sequence[str], products: Products, today: date) -> Refreshed:
    """The book with every price that the list has one clear answer for, and rows for what is wanted beside them."""
    asked: dict[tuple[str, tuple[tuple[str, str], ...]], list[Product]] = {}
    fresh: dict[str, Price] = {}
    kept = []
    for row in [*book.prices.values(), *_new_rows(book, wanted)]:
        filters = _filters(row.ask, region)
        key = (row.ask.service, tuple(filters.items()))
        if key not in asked:
            asked[key] = list(products(row.ask.service, filters))
        found = sorted(set(_prices(asked[key], row.ask.usagetype)))
        if len(found) == 1:
            usd = float(f"{found[0] * row.ask.per:.10g}")
            fresh[row.item] = replace(row, usd=usd, source=ASKED, note="", date=today, verified=True)
        else:
            kept.append((row.item, f"the list has {len(found)} prices for it" if found else "the list has none for it"))
    before = {item: price.usd for item, price in book.prices.items()}
    changed = tuple((item, before.get(item), one.usd) for item, one in fresh.items() if before.get(item) != one.usd)
    return Refreshed(with_prices(book, region, today, fresh), changed, tuple(kept))


def _new_rows(book: PriceBook, wanted: Sequence[str]) -> Iterator[Price]:
    """A size that the book does not have is asked for as its neighbours are: rds.db.m7g.large as rds.db.t4g.micro."""
    for item in wanted:
        kind = re.match(r"(rds\.db|valkey\.cache|ec2)\.", item)
        if kind is None:
            continue
        like = next(price for name, price in book.prices.items() if name.startswith(kind[0]))
        old, new = like.ask.attributes["instanceType"], item.partition(".")[2]
        ask = replace(
            like.ask,
            usagetype=like.ask.usagetype.replace(old, new),
            attributes={**like.ask.attributes, "instanceType": new},
        )
        yield replace(like, item=item, ask=ask)


def _filters(ask: Ask, region: str) -> dict[str, str]:
    known = {"productFamily": ask.family, **({ask.region_field: region} if ask.region_field else {})}
    return {name: value for name, value in known.items() if value} | dict(ask.attributes)


def _prices(products: Iterable[Product], usagetype: str) -> Iterator[float]:
    """On demand, the first step that is not free."""
    pattern = re.compile(_REGION + re.escape(usagetype))
    for product in products:
        if not pattern.fullmatch(product["product"]["attributes"].get("usagetype", "")):
            continue
        for term in product["terms"].get("OnDemand", {}).values():
            steps = sorted(term["priceDimensions"].values(), key=lambda step: float(step.get("beginRange") or 0))
            costs = [float(step["pricePerUnit"].get("USD", 0)) for step in steps]
            yield from [usd for usd in costs if usd > 0][:1]
