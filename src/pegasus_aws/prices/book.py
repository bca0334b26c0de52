"""The price book: a file that people can read, each row of it with its source and date.

One for us-east-1 comes with Pegasus. Where AWS's own price list has been asked (``pegasus aws cost --refresh``), the
answer of that region is kept in the user's cache and goes before it.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from pegasus.errors import Invalid

SHIPPED_REGION = "us-east-1"
_STALE_AFTER = timedelta(days=90)
# The source of what AWS's own price list answered.
ASKED, _ASKED = "aws", "AWS's price list, asked through its API"


@dataclass(frozen=True, slots=True)
class Ask:
    """How AWS's price list is asked for a row."""

    service: str
    usagetype: str  # Without what stands for the region before it.
    family: str = ""  # Nothing for what the list has in no family.
    per: float = 1  # The list's price is for one; the row's for so many.
    region_field: str = "regionCode"  # Nothing for what costs the same everywhere.
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Price:
    item: str
    usd: float
    unit: str
    source: str  # As the book's list of sources calls it.
    date: date
    verified: bool
    ask: Ask
    note: str = ""


@dataclass(frozen=True, slots=True)
class Factor:
    """What is paid instead of the price on demand."""

    name: str
    of: str  # Where the names of the prices begin that it is for.
    factor: float
    means: str
    source: str
    date: date
    verified: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class PriceBook:
    region: str
    read: date  # When its rows were last looked at.
    sources: Mapping[str, str]
    prices: Mapping[str, Price]
    factors: Mapping[str, Factor]

    def warnings(self, region: str, today: date) -> tuple[str, ...]:
        """Why its prices may not be those that are paid."""
        found = []
        if self.region != region:
            found.append(
                f"These are prices of {self.region}, and the environment is in {region}: "
                "pegasus aws cost --refresh gets its own, with credentials."
            )
        if today - self.read > _STALE_AFTER:
            found.append(
                f"The prices were last looked at on {self.read}, {(today - self.read).days} days ago: "
                "pegasus aws cost --refresh gets today's, with credentials."
            )
        return tuple(found)


def book_for(region: str) -> PriceBook:
    """The region's own, if it was ever asked for; else the one that comes with Pegasus."""
    own = cached(region)
    return _read(own.read_text("utf-8"), str(own)) if own.is_file() else shipped()


def shipped() -> PriceBook:
    return _read(files("pegasus_aws").joinpath("prices", f"{SHIPPED_REGION}.toml").read_text("utf-8"), "the price book")


def load(path: Path) -> PriceBook:
    """A book of one's own. Raises ``Invalid``."""
    try:
        return _read(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}.", hint="Name a file that is there.") from error


def cached(region: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "pegasus" / "prices" / f"{region}.toml"


def _read(text: str, name: str) -> PriceBook:
    try:
        given = tomllib.loads(text)
        prices = {
            item: Price(item=item, ask=Ask(**row["ask"]), **{key: row[key] for key in row if key != "ask"})
            for item, row in given["prices"].items()
        }
        factors = {title: Factor(name=title, **row) for title, row in given["factors"].items()}
        return PriceBook(given["region"], given["read"], given["sources"], prices, factors)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        hint = "Write it as src/pegasus_aws/prices/us-east-1.toml is, or delete it where it is a cached one."
        raise Invalid(f"{name} is no price book: {error!r}.", hint=hint) from error


def written(book: PriceBook) -> str:
    """As a file that is read again as the same book."""
    lines = [f"region = {_toml(book.region)}", f"read = {book.read}", "", "[sources]"]
    lines += [*(f"{_toml(name)} = {_toml(text)}" for name, text in book.sources.items()), ""]
    for factor in book.factors.values():
        lines.append(f"[factors.{_toml(factor.name)}]")
        lines += [f"{key} = {_toml(getattr(factor, key))}" for key in ("of", "factor", "means", "source", "note")]
        lines += [f"date = {factor.date}", f"verified = {_toml(factor.verified)}", ""]
    for price in book.prices.values():
        lines.append(f"[prices.{_toml(price.item)}]")
        lines += [f"{key} = {_toml(getattr(price, key))}" for key in ("usd", "unit", "source", "note")]
        lines += [f"date = {price.date}", f"verified = {_toml(price.verified)}", f"ask = {_ask(price.ask)}", ""]
    return "\n".join(lines)


def _ask(ask: Ask) -> str:
    given: dict[str, Any] = {name: getattr(ask, name) for name in ("service", "family", "usagetype", "per")}
    given["region_field"] = ask.region_field
    attributes = ", ".join(f"{_toml(name)} = {_toml(value)}" for name, value in ask.attributes.items())
    plain = ", ".join(f"{name} = {_toml(value)}" for name, value in given.items())
    return f"{{ {plain}, attributes = {{ {attributes} }} }}"


def _toml(value: str | float | bool) -> str:
    """TOML's strings and numbers of this kind are JSON's."""
    return json.dumps(value)


def with_prices(book: PriceBook, region: str, today: date, fresh: Mapping[str, Price]) -> PriceBook:
    """The book with newer rows in it; where there is none the old one stands, of another region as unverified."""
    kept = {item: _elsewhere(price, book.region, region) for item, price in book.prices.items()}
    return PriceBook(region, today, {**book.sources, ASKED: _ASKED}, {**kept, **fresh}, book.factors)


def _elsewhere(price: Price, of: str, region: str) -> Price:
    if of == region:
        return price
    return replace(price, verified=False, note=f"{of}'s" + (f", {price.note}" if price.note else ""))
