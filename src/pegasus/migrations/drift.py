"""Compares a schema with the one that the steps make: databases are changed by hand now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# What there is, by the names of its table (or "" for what belongs to none) and of itself, and how it is defined. The
# table itself has no name of its own.
Catalogue = Mapping[tuple[str, str], str]


def differences(found: Catalogue, expected: Catalogue) -> Iterator[str]:
    for table, part in sorted(expected.keys() - found.keys()):
        if not part or (table, "") not in expected or (table, "") in found:
            yield f"{_named(table, part)} is missing"
    for table, part in sorted(found.keys() - expected.keys()):
        if not part or (table, "") in expected:
            yield f"{_named(table, part)} is there, and no step made it"
    for table, part in sorted(found.keys() & expected.keys()):
        if found[table, part] != expected[table, part]:
            yield f"{_named(table, part)} is {found[table, part]!r} and should be {expected[table, part]!r}"


def _named(table: str, part: str) -> str:
    if not part:
        return f"the table {table}"
    return f"the {part} of {table}" if table else f"the {part}"


def flat(definition: str | None) -> str:
    """A definition on one line, however it was written."""
    return " ".join((definition or "").split())
