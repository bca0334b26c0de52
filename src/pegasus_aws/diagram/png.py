"""A picture as PNG, with letters that come with Pegasus: a server often has none, and would draw empty boxes."""

from __future__ import annotations

from importlib.resources import files

# Twice the size, for screens that show two dots for one and for pages on paper.
_ZOOM = 2


def as_png(svg: str) -> bytes:
    import resvg_py

    letters = files("font_lato").joinpath("files")
    return resvg_py.svg_to_bytes(
        svg_string=svg,
        skip_system_fonts=True,
        font_files=[str(letters.joinpath(name)) for name in ("Lato-Regular.ttf", "Lato-Bold.ttf")],
        sans_serif_family="Lato",
        zoom=_ZOOM,
    )
