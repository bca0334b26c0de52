"""Where things go: columns that keep an arrow above what it points to, and rows that keep a tier in one piece.

Most tasks talk to the same stores. Arrows from each to each would be a thicket, so those with the same targets stand in
a row above one line, from which one arrow goes down to each target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pegasus_aws.diagram.parts import Part
from pegasus_aws.diagram.reading import INTERNET, Arrow


@dataclass(frozen=True, slots=True)
class Row:
    tier: str
    parts: Sequence[str]
    role: int  # FRONT, CROWD or REST


@dataclass(frozen=True, slots=True)
class Plan:
    crowd: Sequence[str]  # Those that share their targets,
    shared: Sequence[str]  # and these targets, from left to right.
    columns: Mapping[str, tuple[int, int]]  # First and last of each part below the crowd.
    beside: frozenset[str]  # Those that stand beside the one that talks to them, not below.
    width: int
    rows: Sequence[Row]


FRONT, CROWD, REST = range(3)


def plan(parts: Sequence[Part], arrows: Sequence[Arrow], tiers: Sequence[str]) -> Plan:
    inside = [one for one in arrows if INTERNET not in (one.source, one.target)]
    crowd = _crowd(inside)
    targets = _targets(inside)
    shared = targets[crowd[0]] if crowd else frozenset()
    alone = {source: found for source, found in targets.items() if source not in crowd}
    front = _front(arrows)
    columns, order, beside = _columns(shared, alone, front, [part.party for part in parts])
    rows = []
    for tier in tiers:
        there = [part.party for part in parts if part.tier == tier]
        for role, members in (
            (FRONT, [one for one in there if one in front]),
            (CROWD, [one for one in there if one in crowd]),
            (REST, sorted((one for one in there if one in columns), key=lambda one: columns[one])),
        ):
            if members:
                rows.append(Row(tier, members, role))
    return Plan(crowd, order, columns, beside, 1 + max((last for _, last in columns.values()), default=0), rows)


def _targets(inside: Sequence[Arrow]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for one in inside:
        found.setdefault(one.source, set()).add(one.target)
    return {source: frozenset(targets) for source, targets in found.items()}


def _crowd(inside: Sequence[Arrow]) -> Sequence[str]:
    """The most parties with the very same targets and ports; nobody, where no two have the same."""
    alike: dict[frozenset[tuple[str, int]], list[str]] = {}
    for source in dict.fromkeys(one.source for one in inside):
        alike.setdefault(frozenset((one.target, one.port) for one in inside if one.source == source), []).append(source)
    most = max(alike.values(), key=len, default=[])
    return most if len(most) > 1 else ()


def _front(arrows: Sequence[Arrow]) -> frozenset[str]:
    return frozenset(one.target for one in arrows if one.source == INTERNET)


def _columns(
    shared: frozenset[str], alone: Mapping[str, frozenset[str]], front: frozenset[str], order: Sequence[str]
) -> tuple[Mapping[str, tuple[int, int]], Sequence[str], frozenset[str]]:
    """A target is as wide as those that stand above it; what only one of these knows stands beside it."""
    columns: dict[str, tuple[int, int]] = {}
    beside: set[str] = set()
    at = 0

    def take(party: str, wide: int = 1) -> None:
        nonlocal at
        columns[party] = (at, at + wide - 1)
        at += wide

    def own(target: str) -> Sequence[str]:
        return [one for one in order if one not in front and target in alone.get(one, ())]

    wanted = sorted(shared, key=lambda one: (-len(own(one)), one in alone, order.index(one)))
    for target in wanted:
        sources = sorted(own(target), key=lambda one: (-len(alone[one]), order.index(one)))
        for source in sources:
            for other in sorted(alone[source] - {target}, key=order.index):
                take(other)
                beside.add(other)
        first = at
        for source in sources:
            take(source)
        if sources:
            columns[target] = (first, at - 1)
        else:
            take(target)
        for below in sorted(alone.get(target, ()), key=order.index):
            columns[below] = columns[target]
    return columns, wanted, frozenset(beside)
