"""Draws who can talk to whom on which port: a line from each that opens connections, an arrow to each that takes some.

Where a line meets an arrow with a number, that port is open; where it has none, nothing passes. So forty ways can be
read one by one, which forty lines from box to box could not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from pegasus_aws.diagram.cards import COLOURS, pill
from pegasus_aws.diagram.letters import fitting, wrapped
from pegasus_aws.diagram.parts import parts
from pegasus_aws.diagram.reading import INTERNET, Arrow, Templates
from pegasus_aws.diagram.svg import BAND, INK, LINE, MARGIN, MUTED, TINTS, box, number, path, picture, text
from pegasus_aws.plan.policy.system import System

_WIDTH = 1060
_SOURCES = 232  # The width of a box on the left.
_TARGET, _ROW, _PORT, _TOP = 44, 48, 17, 84


def draw(system: System) -> str:
    templates = Templates(system)
    arrows = templates.arrows()
    order = [INTERNET, *(part.party for part in parts(templates))]
    colours = {part.party: COLOURS[part.kind] for part in parts(templates)} | {INTERNET: MUTED}
    names = {part.party: part.title for part in parts(templates)} | {INTERNET: "Internet"}
    sources = [party for party in order if any(one.source == party for one in arrows)]
    # The internet last: what goes out is read apart from what stays within.
    targets = sorted({one.target for one in arrows}, key=lambda party: (party == INTERNET, order.index(party)))
    columns = _columns(targets)
    rows, bottom = _rows(sources, arrows)
    title = f"Who can talk to whom: {system.environment.name}"
    shapes = [
        text(MARGIN + 4, 46, title, 22, INK, 700, "start"),
        text(_WIDTH - MARGIN - 4, 45, "drawn from the security groups of the templates", 12, MUTED, 400, "end"),
        text(
            MARGIN + 4,
            66,
            "A number is an open port: from the left, upwards. Where lines cross without one, nothing passes.",
            10.5,
            MUTED,
            400,
            "start",
        ),
        *(shape for party, (y, height) in rows.items() for shape in _band(y, height)),
        *(shape for one in arrows for shape in _line(one, columns, rows, arrows)),
        *(shape for one in arrows for shape in _port(one, columns, rows, arrows, colours[one.target])),
        *(shape for party, x in columns.items() for shape in _target(x, names[party], colours[party], len(targets))),
    ]
    for party, (y, height) in rows.items():
        meaning = "Whoever asks" if party == INTERNET else templates.meaning(party)
        shapes += _source(y, height, names[party], meaning, colours[party])
    told = " ".join(f"{one.source} may open {one.target} on {one.port}: {one.why}." for one in arrows)
    return picture(bottom + MARGIN, title, told, shapes, _WIDTH)


def _columns(targets: Sequence[str]) -> Mapping[str, float]:
    """The middle of each column."""
    room = (_WIDTH - MARGIN - _left()) / len(targets)
    return {party: _left() + room * (index + 0.5) for index, party in enumerate(targets)}


def _left() -> float:
    return MARGIN + _SOURCES + 14


def _rows(sources: Sequence[str], arrows: Sequence[Arrow]) -> tuple[Mapping[str, tuple[float, float]], float]:
    """Top and height of each row: as high as the most ports that a source may open at one target."""
    rows, y = {}, _TOP + _TARGET + 26.0
    for party in sources:
        most = max(len(_ports(party, target, arrows)) for target in {one.target for one in arrows})
        rows[party] = (y, height := max(_ROW, 10 + most * _PORT))
        y += height + 8
    return rows, y - 8


def _ports(source: str, target: str, arrows: Sequence[Arrow]) -> Sequence[int]:
    return sorted(one.port for one in arrows if (one.source, one.target) == (source, target))


def _level(one: Arrow, rows: Mapping[str, tuple[float, float]], arrows: Sequence[Arrow]) -> float:
    y, height = rows[one.source]
    ports = _ports(one.source, one.target, arrows)
    return y + height / 2 + (ports.index(one.port) - (len(ports) - 1) / 2) * _PORT


def _band(y: float, height: float) -> Iterator[str]:
    yield box(MARGIN, y, _WIDTH - 2 * MARGIN, height, BAND, LINE, 8)


def _line(one: Arrow, columns: Mapping[str, float], rows: Mapping[str, tuple[float, float]],
          arrows: Sequence[Arrow]) -> Iterator[str]:  # fmt: skip
    x, y = columns[one.target], _level(one, rows, arrows)
    steps = f"M{number(MARGIN + _SOURCES)},{number(y)} H{number(x)} V{number(_TOP + _TARGET + 1)}"
    yield path(steps, MUTED, 1.1).replace("<path ", f'<path data-arrow="{one.source}&gt;{one.target}:{one.port}" ', 1)


def _port(one: Arrow, columns: Mapping[str, float], rows: Mapping[str, tuple[float, float]], arrows: Sequence[Arrow],
          colour: str) -> Iterator[str]:  # fmt: skip
    yield f"<g><title>{escape(f'{one.source} to {one.target} on {one.port}: {one.why}')}</title>"
    yield from pill(columns[one.target], _level(one, rows, arrows), str(one.port), colour)
    yield "</g>"


def _target(x: float, name: str, colour: str, among: int) -> Iterator[str]:
    width = (_WIDTH - MARGIN - _left()) / among - 8
    yield f"<g data-target={quoteattr(name)}>"
    yield box(x - width / 2, _TOP, width, _TARGET, TINTS[colour], colour)
    words = wrapped(name, width - 8, 12, 600)
    for index, line in enumerate(words):
        y = _TOP + _TARGET / 2 + 4 + (index - (len(words) - 1) / 2) * 15
        yield text(x, y, line, fitting(line, width - 8, 12, 600), INK, 600)
    yield "</g>"


def _source(y: float, height: float, name: str, meaning: str, colour: str) -> Iterator[str]:
    yield f"<g data-source={quoteattr(name)}>"
    yield box(MARGIN, y, _SOURCES, height, TINTS[colour], colour)
    told = wrapped(meaning, _SOURCES - 20, 9.5)
    top = y + height / 2 - 6 * len(told)
    yield text(MARGIN + 10, top + 4, name, 12, INK, 600, "start")
    for index, line in enumerate(told):
        yield text(MARGIN + 10, top + 17 + 11.5 * index, line, 9.5, MUTED, 400, "start")
    yield "</g>"
