"""Draws the measurements of which a picture says more than a number: quality by way of searching, memory by size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pegasus_aws.diagram.svg import (
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
    VIOLET,
    WIDTH,
    band,
    box,
    number,
    path,
    picture,
    text,
)  # fmt: skip

_LEFT, _RIGHT = MARGIN + PADDING + 46, WIDTH - MARGIN - PADDING - 10
_PLOT, _FOOT = 190, 40  # the height of a plot and of what stands below it
_COLOURS = {"lexical": BLUE, "semantic": VIOLET, "hybrid": TEAL}


def draw(results: Mapping[str, Any]) -> str:
    """The picture; ``results`` is what ``python -m bench --save`` wrote."""
    plots, shapes, y = results["plots"], [], 68.0
    shapes.append(text(MARGIN + PADDING, 46, "Measured", 22, INK, 700, "start"))
    shapes.append(text(WIDTH - MARGIN - PADDING, 45, f"{results['date']}, {results['machine']}", 12, MUTED, 400, "end"))
    for name, plot, title, explanation, colour in (
        ("ndcg", _bars, "Quality", "nDCG@10 of each way of searching, mean and 95 % interval; 1 is perfect", TEAL),
        ("memory", _line, "Memory", "MB resident by passages indexed", INDIGO),
    ):
        if name in plots:
            shapes += band(y, 44 + _PLOT + _FOOT, title, explanation, colour) + plot(plots[name], y + 52)
            y += 44 + _PLOT + _FOOT + 24
    description = "; ".join(f"{mode}: {values[0]:.3f}" for mode, values in plots.get("ndcg", {}).items())
    return picture(y, "What Pegasus was measured to do", description, shapes)


def _bars(means: Mapping[str, Sequence[float]], y: float) -> list[str]:
    shapes = _grid([0, 0.25, 0.5, 0.75, 1], 1, y)
    step = (_RIGHT - _LEFT) / len(means)
    for index, (mode, (mean, low, high)) in enumerate(means.items()):
        middle, colour = _LEFT + step * (index + 0.5), _COLOURS.get(mode, MUTED)
        top, upper, lower = (_height(value, 1, y) for value in (mean, high, low))
        shapes.append(box(middle - 64, top, 128, y + _PLOT - top, TINTS[colour], colour, 4))
        shapes.append(path(f"M{number(middle)},{number(upper)} V{number(lower)}", INK, 1.6, arrow=False))
        for end in (upper, lower):
            shapes.append(path(f"M{number(middle - 6)},{number(end)} h12", INK, 1.6, arrow=False))
        shapes.append(text(middle, y + _PLOT - 32, f"{mean:.3f}", 16, INK, 650))
        shapes.append(text(middle, y + _PLOT - 14, f"{low:.3f} to {high:.3f}", 11, MUTED))
        shapes.append(text(middle, y + _PLOT + 20, mode, 13, INK, 600))
    return shapes


def _line(points: Sequence[Sequence[float]], y: float) -> list[str]:
    tallest, widest = _round_up(max(p[1] for p in points)), max(p[0] for p in points)
    shapes = _grid([tallest * part / 4 for part in range(5)], tallest, y)
    spots = [(_LEFT + (_RIGHT - _LEFT) * 0.94 * p[0] / widest, _height(p[1], tallest, y)) for p in points]
    steps = " L".join(f"{number(x)},{number(at)}" for x, at in spots)
    area = f"M{number(spots[0][0])},{y + _PLOT:g} L{steps} L{number(spots[-1][0])},{y + _PLOT:g} Z"
    shapes.append(f'<path d="{area}" fill="{TINTS[INDIGO]}"/>')
    shapes.append(path(f"M{steps}", INDIGO, 2, arrow=False))
    for index, ((x, at), (passages, memory)) in enumerate(zip(spots, points, strict=True)):
        shapes.append(f'<circle cx="{number(x)}" cy="{number(at)}" r="3.2" fill="{INDIGO}"/>')
        shapes.append(text(x, y + _PLOT + 20, f"{passages:,.0f}", 11, MUTED))
        if index in (0, len(points) - 1):  # in the area, where no line of the grid runs
            anchor, aside = ("end", -6) if index else ("start", 6)
            shapes.append(text(x + aside, at + 26, f"{memory:,.0f} MB", 12, INK, 650, anchor))
    return shapes


def _grid(values: Sequence[float], most: float, y: float) -> list[str]:
    shapes = []
    for value in values:
        at = _height(value, most, y)
        shapes.append(path(f"M{_LEFT},{number(at)} H{_RIGHT}", FAINT if value == 0 else LINE, 1, arrow=False))
        shapes.append(text(_LEFT - 10, at + 4, f"{value:,.4g}", 11, MUTED, 400, "end"))
    return shapes


def _height(value: float, most: float, y: float) -> float:
    return y + _PLOT * (1 - value / most)


def _round_up(value: float) -> float:
    """The next number that four lines of a grid divide well: 1, 2, 4 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value * 1.1))
    return next(power * step for step in (1, 2, 4, 6, 8, 10, 20) if power * step >= value * 1.1)
