"""What a picture shows, read back from its SVG: boxes, words and lines with their places."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pegasus_aws.diagram.letters import width_of

_SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Area:
    left: float
    top: float
    right: float
    bottom: float
    words: str = ""

    def within(self, other: Area) -> bool:
        return (
            other.left <= self.left and self.right <= other.right and other.top <= self.top
        ) and self.bottom <= other.bottom

    def meets(self, other: Area) -> bool:
        return (
            self.left < other.right - 0.1 and other.left < self.right - 0.1 and self.top < other.bottom - 0.1
        ) and other.top < self.bottom - 0.1


@dataclass(frozen=True)
class Card:
    box: Area
    words: tuple[Area, ...]
    resources: frozenset[str]


class Drawn:
    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)
        self.whole = Area(0, 0, float(self.root.attrib["width"]), float(self.root.attrib["height"]))

    @property
    def cards(self) -> list[Card]:
        return [
            Card(
                _box(group.find(f"{_SVG}rect")), tuple(_texts(group)), frozenset(group.attrib["data-resources"].split())
            )
            for group in self.root.iter(f"{_SVG}g")
            if "data-resources" in group.attrib
        ]

    @property
    def labels(self) -> list[Card]:
        """Every box with the words that are drawn right after it: cards, ports, ends of lines."""
        found = []
        for parent in self.root.iter():
            children = [child for child in parent if child.tag in (f"{_SVG}rect", f"{_SVG}text")]
            for index, child in enumerate(children):
                if child.tag == f"{_SVG}rect" and parent.tag == f"{_SVG}g":
                    after = children[index + 1 :]
                    words = [_text(one) for one in after[: _next_box(after)]]
                    found.append(Card(_box(child), tuple(words), frozenset()))
        return found

    @property
    def words(self) -> list[Area]:
        return list(_texts(self.root))

    def arrows(self, attribute: str) -> list[str]:
        return [name for one in self.root.iter() for name in one.attrib.get(attribute, "").split()]

    @property
    def lines(self) -> list[Area]:
        """Each straight piece of each line."""
        return [
            piece for one in self.root.iter(f"{_SVG}path") if "d" in one.attrib for piece in _pieces(one.attrib["d"])
        ]


def _next_box(children: list[ElementTree.Element]) -> int:
    return next((index for index, one in enumerate(children) if one.tag == f"{_SVG}rect"), len(children))


def _box(rect: ElementTree.Element | None) -> Area:
    assert rect is not None
    x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
    return Area(x, y, x + width, y + height)


def _texts(group: ElementTree.Element) -> Iterator[Area]:
    return (_text(one) for one in group.iter(f"{_SVG}text"))


def _text(one: ElementTree.Element) -> Area:
    size, words = float(one.attrib["font-size"]), one.text or ""
    width = width_of(words, size, int(one.attrib["font-weight"]))
    x, y = float(one.attrib["x"]), float(one.attrib["y"])
    left = {"start": x, "middle": x - width / 2, "end": x - width}[one.attrib["text-anchor"]]
    return Area(left, y - 0.76 * size, left + width, y + 0.24 * size, words)


def _pieces(steps: str) -> Iterator[Area]:
    x = y = 0.0
    for kind, numbers in re.findall(r"([MHVh])([-\d.,]+)", steps):
        if kind == "M":
            x, y = map(float, numbers.split(","))
            continue
        to_x = float(numbers) + (x if kind == "h" else 0) if kind in "Hh" else x
        to_y = float(numbers) if kind == "V" else y
        yield Area(min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y))
        x, y = to_x, to_y


def advances(file: Path) -> dict[str, float]:
    """How wide each letter of a TrueType font is, in thousandths of its size: the tables head, hhea, hmtx and cmap."""
    data = file.read_bytes()
    tables = {data[at : at + 4]: struct.unpack_from(">I", data, at + 8)[0] for at in range(12, 12 + 16 * data[5], 16)}
    (units,) = struct.unpack_from(">H", data, tables[b"head"] + 18)
    (metrics,) = struct.unpack_from(">H", data, tables[b"hhea"] + 34)
    found = {}
    for letter, glyph in _glyphs(data, tables[b"cmap"]):
        (advance,) = struct.unpack_from(">H", data, tables[b"hmtx"] + 4 * min(glyph, metrics - 1))
        found[letter] = advance * 1000 / units
    return found


def _glyphs(data: bytes, cmap: int) -> Iterator[tuple[str, int]]:
    for number in range(struct.unpack_from(">H", data, cmap + 2)[0]):
        start = cmap + struct.unpack_from(">I", data, cmap + 8 + 8 * number)[0]
        if struct.unpack_from(">H", data, start)[0] != 4:
            continue
        count = struct.unpack_from(">H", data, start + 6)[0] // 2
        ends, starts, deltas, offsets = (start + 14 + part * 2 * count + (2 if part else 0) for part in range(4))
        for segment in range(count):
            last, first, delta, offset = (
                struct.unpack_from(">H", data, table + 2 * segment)[0] for table in (ends, starts, deltas, offsets)
            )
            for code in range(first, min(last, 0x2FFF) + 1):
                glyph = code
                if offset:
                    (glyph,) = struct.unpack_from(">H", data, offsets + 2 * segment + offset + 2 * (code - first))
                yield chr(code), (glyph + delta) & 0xFFFF
