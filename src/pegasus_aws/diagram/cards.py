"""The shapes that the pictures of a deployment are made of: cards with facts, and ports on lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from pegasus_aws.diagram.letters import fitting, width_of, wrapped
from pegasus_aws.diagram.parts import Kind
from pegasus_aws.diagram.reading import Arrow, Place
from pegasus_aws.diagram.svg import AMBER, BLUE, INDIGO, INK, MUTED, TEAL, TINTS, VIOLET, box, path, text

COLOURS: Mapping[Kind, str] = {"door": TEAL, "task": INDIGO, "function": VIOLET, "store": AMBER}
_TITLE, _FACT, _PORT = 12.5, 10.5, 9.5
_STEP = 14.0


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a card is."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


def card(spot: Spot, title: str, facts: Sequence[str], colour: str, resources: Sequence[Place] = ()) -> Iterator[str]:
    """``resources``: those that it stands for, so that a picture can be asked what is in it."""
    yield f"<g data-resources={quoteattr(' '.join(f'{stack}/{name}' for stack, name in resources))}>"
    yield box(spot.x, spot.y, spot.width, spot.height, TINTS[colour], colour)
    yield text(spot.middle, spot.y + 19, title, fitting(title, spot.width - 10, _TITLE, 600), INK, 600)
    for index, line in enumerate(_folded(facts, spot.width)):
        size = fitting(line, spot.width - 8, _FACT)
        yield text(spot.middle, spot.y + 35 + index * _STEP, line, size, MUTED)
    yield "</g>"


def height_of(facts: Sequence[str], width: float) -> float:
    return 30 + _STEP * len(_folded(facts, width))


def _folded(facts: Sequence[str], width: float) -> Sequence[str]:
    return [line for fact in facts for line in wrapped(fact, width - 12, _FACT)]


def arrow(arrows: Sequence[Arrow], steps: str, x: float, y: float) -> Iterator[str]:
    """One arrow for all these, with their ports at a place on it."""
    names = " ".join(f"{one.source}>{one.target}:{one.port}" for one in arrows)
    yield f"<g data-arrows={quoteattr(names)}>"
    yield path(steps, BLUE)
    yield from pill(x, y, ", ".join(map(str, sorted({one.port for one in arrows}))), BLUE)
    yield "</g>"


def pill(x: float, y: float, words: str, colour: str) -> Iterator[str]:
    """A label on a line: centred, and hiding the line behind it."""
    width = width_of(words, _PORT, 600) + 10
    yield box(x - width / 2, y - 7, width, 14, TINTS[colour], colour, 7)
    yield text(x, y + 3.4, words, _PORT, colour, 600)
