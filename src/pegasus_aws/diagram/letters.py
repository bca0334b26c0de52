"""How wide words are at most, so that a box is never too small for them, whatever letters the reader's machine has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Thousandths of the size of the letters. They are those of DejaVu Sans, the widest of what browsers take for system-ui
# or sans-serif, or of Lato, which the PNG has, where that is wider; rounded up.
_REGULAR: Mapping[int, str] = {
    275: "'", 300: "ijl", 325: " ,.I·", 350: ":;|", 375: "-/f", 400: "()[\\]t", 425: "!r", 450: "J", 475: '"',
    525: "*_`sz", 550: "?c", 575: "L–", 600: "Fkvxy", 625: "PTaeo", 650: "$0123456789ESYbdghnpqu{}", 700: "ABCKRVXZ",
    750: "U", 775: "DGHN", 800: "&OQ", 825: "w", 850: "#+<=>^~×", 925: "M", 975: "%m", 1025: "@W",
}  # fmt: skip
_BOLD: Mapping[int, str] = {
    325: "'", 350: " ijl", 375: "I|", 400: ",./:;\\·", 425: "-", 450: "Jf", 475: "!()[]", 500: "rt", 525: '"*_`',
    575: "–", 600: "?csz", 650: "Lx", 675: "akvy", 700: "$0123456789EFTeo", 725: "SYbdghnpqu{}", 750: "CPZ",
    775: "ABKRVX", 825: "GU", 850: "#+<=>DHN^~×", 875: "&OQ", 925: "w", 1000: "M", 1025: "%@", 1050: "m", 1125: "W",
}  # fmt: skip
_BOLD_FROM = 600  # A browser without the weight in between takes the bold one.
_WIDEST = 1125
_WIDTHS = {
    bold: {letter: width for width, letters in table.items() for letter in letters}
    for bold, table in ((False, _REGULAR), (True, _BOLD))
}


def width_of(words: str, size: float, weight: int = 400) -> float:
    widths = _WIDTHS[weight >= _BOLD_FROM]
    return sum(widths.get(letter, _WIDEST) for letter in words) * size / 1000


def wrapped(words: str, room: float, size: float, weight: int = 400) -> Sequence[str]:
    """Lines of at most that width; a word that is wider than the room has a line of its own."""
    lines: list[str] = []
    for word in words.split():
        if lines and width_of(f"{lines[-1]} {word}", size, weight) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def fitting(words: str, room: float, size: float, weight: int = 400) -> float:
    """The largest size up to this one at which the words fit."""
    return min(size, size * room / width_of(words, size, weight)) if words else size
