"""What the pictures share: their colours, their letters and the few shapes that they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

WIDTH, MARGIN, PADDING = 900, 24, 18
INK, MUTED, FAINT, CARD, BAND, LINE = "#1c2434", "#5b667a", "#8a94a6", "#f5f7fb", "#ffffff", "#e1e6ef"
INDIGO, TEAL, AMBER, BLUE, VIOLET = "#4a55c9", "#0e8074", "#b26a00", "#2f6fb2", "#7a4fb5"
TINTS = {INDIGO: "#eef0fd", TEAL: "#e6f5f3", AMBER: "#fdf3e1", BLUE: "#e8f1fa", VIOLET: "#f2ecfa", MUTED: "#f5f7fb"}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, words: str, size: float = 12, fill: str = INK, weight: int = 400,
         anchor: str = "middle") -> str:  # fmt: skip
    """Words on a line; ``y`` is their baseline."""
    place = f'x="{number(x)}" y="{number(y)}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{number(size)}" font-weight="{weight}" fill="{fill}">{escape(words)}</text>'


def fitting(words: str, width: float, size: float) -> float:
    """A size of letters at which words of an unknown font fit into a box."""
    return min(size, (width - 6) / (0.6 * len(words)))


def lines(x: float, y: float, words: Iterable[str], size: float, fill: str, weight: int = 400) -> list[str]:
    return [text(x, y + index * size * 1.28, line, size, fill, weight) for index, line in enumerate(words)]


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str, radius: float = 8,
        dash: str = "") -> str:  # fmt: skip
    shape = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" rx="{number(radius)}"'
    return f'<rect {shape} fill="{fill}" stroke="{stroke}"{_dashed(dash)}/>'


def path(steps: str, stroke: str, width: float = 1.4, arrow: bool = True, dash: str = "") -> str:
    end = f' marker-end="url(#{stroke.lstrip("#")})"' if arrow else ""
    return f'<path d="{steps}" fill="none" stroke="{stroke}" stroke-width="{number(width)}"{_dashed(dash)}{end}/>'


def band(y: float, height: float, title: str, explanation: str, colour: str) -> list[str]:
    """A layer of the picture: a white card with its name at the top left."""
    place = f'x="{MARGIN + PADDING}" y="{number(y + 25)}"'
    aside = f'<tspan dx="10" font-size="12" font-weight="400" fill="{MUTED}">{escape(explanation)}</tspan>'
    return [
        box(MARGIN, y, WIDTH - 2 * MARGIN, height, BAND, LINE, 12),
        f'<text {place} font-size="13" font-weight="650" fill="{colour}">{escape(title)}{aside}</text>',
    ]


def picture(height: float, title: str, description: str, shapes: Iterable[str], width: float = WIDTH) -> str:
    """The whole file, on a card of its own so that it can be read on light and on dark pages."""
    markers = "".join(_arrow_head(colour) for colour in TINTS)
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" '
        f'width="{number(width)}" height="{number(height)}" role="img" aria-labelledby="title description" '
        f'font-family="{_FONT}">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f"<defs>{markers}</defs>",
        box(0.5, 0.5, width - 1, height - 1, CARD, LINE, 16),
        *shapes,
        "</svg>\n",
    ))  # fmt: skip


def _arrow_head(colour: str) -> str:
    return (
        f'<marker id="{colour.lstrip("#")}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 Z" fill="{colour}"/></marker>'
    )


def _dashed(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""
