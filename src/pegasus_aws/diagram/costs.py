"""Draws what environments cost a month: against their budgets, and by service."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import islice

from pegasus_aws.cost.estimates import Estimate
from pegasus_aws.diagram.svg import (
    AMBER,
    BLUE,
    FAINT,
    INDIGO,
    INK,
    LINE,
    MARGIN,
    MUTED,
    PADDING,
    TEAL,
    TINTS,
    WIDTH,
    band,
    box,
    number,
    path,
    picture,
    text,
)  # fmt: skip

_LEFT, _RIGHT = MARGIN + PADDING, WIDTH - MARGIN - PADDING
_NAMES, _FIGURES = 130, 110  # The width of what stands left and right of a bar.
_ROW, _BAR, _HEAD, _FOOT = 28, 16, 92, 16
_SHOWN = 9
_APART = 60  # Two figures on a scale that are nearer would run into each other.
_TITLE = 90  # So many letters have room beside what is said of them.
_COLOURS: Mapping[str, str] = {
    "ECS on Fargate": INDIGO, "EC2": INDIGO,
    "RDS": TEAL, "ElastiCache": TEAL, "Neptune": TEAL, "EFS": TEAL, "S3": TEAL, "AWS Backup": TEAL,
    "VPC": BLUE, "Load balancer": BLUE, "WAF": BLUE, "Data transfer": BLUE, "Route 53": BLUE,
}  # fmt: skip


def draw(estimates: Sequence[Estimate], titles: Sequence[str]) -> str:
    """A card for each, all bars in one scale."""
    book = estimates[0].book
    shapes = [
        text(_LEFT, 46, "What it costs a month", 22, INK, 700, "start"),
        text(_RIGHT, 45, f"USD, {book.region}, prices read {book.read}", 12, MUTED, 400, "end"),
    ]
    widest = max(max(one.by_service().values(), default=1) for one in estimates)
    y = 68.0
    for title, one in zip(titles, estimates, strict=True):
        rows = _rows(one)
        height = _HEAD + _ROW * len(rows) + _FOOT
        said = "within its budget" if one.within_budget else "over its budget"
        short = textwrap.shorten(title, _TITLE, placeholder=" ...")
        shapes += band(y, height, short, said, INDIGO if one.within_budget else AMBER)
        shapes += _budget(one, y + 44)
        for row, (service, usd) in enumerate(rows.items()):
            shapes += _bar(service, usd, one.monthly_usd, widest, y + _HEAD + _ROW * row)
        y += height + 24
    shapes += _legend(y)
    sums = "; ".join(f"{title}: {one.monthly_usd:,.2f}" for title, one in zip(titles, estimates, strict=True))
    return picture(y + 36, "What Pegasus costs on AWS", f"USD a month. {sums}", shapes)


def _legend(y: float) -> list[str]:
    shapes, x = [], float(_LEFT + _NAMES)
    for words, colour in (("tasks and hosts", INDIGO), ("stores", TEAL), ("network", BLUE), ("all else", MUTED)):
        shapes += [box(x, y - 4, 12, 12, TINTS[colour], colour, 3), text(x + 20, y + 6, words, 11, MUTED, 400, "start")]
        x += 130
    return shapes


def _rows(found: Estimate) -> dict[str, float]:
    """The largest, and the others as one."""
    sums = found.by_service()
    rows = dict(islice(sums.items(), _SHOWN))
    if rest := round(sum(sums.values()) - sum(rows.values()), 2):
        rows[f"{len(sums) - len(rows)} others"] = rest
    return rows


def _budget(found: Estimate, y: float) -> list[str]:
    """A scale from nothing on, the budget as a tinted part of it, the estimate as a mark."""
    budget, colour = found.environment.budget, TEAL if found.within_budget else AMBER
    left, room = _LEFT + _NAMES, _RIGHT - _FIGURES - _LEFT - _NAMES
    scale = room / (max(budget.most_usd, found.monthly_usd) * 1.05)
    least, most = left + budget.least_usd * scale, left + budget.most_usd * scale
    at = left + found.monthly_usd * scale
    labels = [text(most, y + 28, f"{budget.most_usd:,.0f}", 11, MUTED)]
    if most - least > _APART:
        labels.append(text(least, y + 28, f"{budget.least_usd:,.0f}", 11, MUTED))
    return [
        *labels,
        text(left - 12, y + 12, "budget", 12, MUTED, 400, "end"),
        box(left, y + 2, room, 12, TINTS[MUTED], LINE, 3),
        box(least, y + 2, most - least, 12, TINTS[TEAL], TEAL, 3),
        path(f"M{number(at)},{number(y - 3)} v22", colour, 3, arrow=False),
        text(_RIGHT, y + 12, f"{found.monthly_usd:,.2f}", 13, colour, 650, "end"),
    ]


def _bar(service: str, usd: float, total: float, widest: float, y: float) -> list[str]:
    left, room = _LEFT + _NAMES, _RIGHT - _FIGURES - _LEFT - _NAMES
    colour = _COLOURS.get(service, MUTED)
    return [
        text(left - 12, y + 12, service, 12, INK, 500, "end"),
        box(left, y, max(3, room * usd / widest), _BAR, TINTS[colour], colour, 3),
        text(_RIGHT - 44, y + 12, f"{usd:,.2f}", 12, INK, 600, "end"),
        text(_RIGHT, y + 12, f"{100 * usd / total:.0f} %", 11, FAINT, 400, "end"),
    ]
