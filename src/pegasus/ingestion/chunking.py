"""Cut a text into chunks that respect its headings and whose boundaries survive edits elsewhere.

A boundary is chosen among the natural ones (paragraph, line, sentence) by a hash of the characters before it, not by
counting from the start, as in content-defined chunking (Muthitacharoen et al., LBFS, 2001): after an insertion the
boundaries fall back into step within a few chunks, so that only those are embedded again.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

from pegasus.domain import Chunk, Heading

# About 225 tokens of English prose, which leaves the model's 256 room for the title and headings.
MAX_CHARACTERS = 900
MIN_CHARACTERS = 350
# A section shorter than this is kept together with the next one, if both fit.
_SMALL_SECTION = 250
_CONTEXT = 24

# The groups in order of preference: after a paragraph, a line, a sentence, a word.
_BOUNDARY = re.compile(r"(\n[ \t]*\n\s*)|(\n\s*)|((?<=[.!?;:][\s\"')\]])(?=\S)|(?<=[。！？]))|([ \t]+)")


def chunk_text(text: str, headings: Sequence[Heading] = ()) -> list[Chunk]:
    """Chunks in order, each at most ``MAX_CHARACTERS`` long and without white space at its ends.

    Together they hold every character of the text that is not white space, exactly once.
    """
    chunks = []
    for start, end, heading in _sections(text, headings):
        for first, last in _split(text, start, end):
            chunks.append(Chunk(first, last, text[first:last], heading))
    return chunks


def _sections(text: str, headings: Sequence[Heading]) -> Iterator[tuple[int, int, str]]:
    """(start, end, path of headings) of the stretches that headings begin, small ones joined with the next."""
    marks: list[tuple[int, str]] = []
    path: list[Heading] = []
    for heading in headings:
        path = [above for above in path if above.level < heading.level] + [heading]
        # From the start of its line, so that the marks of a Markdown heading stay with it.
        start = text.rfind("\n", 0, heading.start) + 1
        marks.append((start, " > ".join(above.title for above in path)))
    if not marks or text[: marks[0][0]].strip():
        marks.insert(0, (0, ""))
    ends = [start for start, _ in marks[1:]] + [len(text)]
    pending: tuple[int, str] | None = None
    for (start, heading_path), end in zip(marks, ends, strict=True):
        if pending and end - pending[0] > MAX_CHARACTERS:
            yield pending[0], start, pending[1]
            pending = None
        first, name = pending or (start, heading_path)
        if end - first < _SMALL_SECTION:
            pending = (first, name)
        else:
            yield first, end, name
            pending = None
    if pending:
        yield pending[0], len(text), pending[1]


def _split(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        if text[start].isspace():
            start += 1
            continue
        cut = end if end - start <= MAX_CHARACTERS else _best_boundary(text, start)
        yield start, start + len(text[start:cut].rstrip())
        start = cut


def _best_boundary(text: str, start: int) -> int:
    """The most natural boundary in the window; of equals, the one that its own context picks."""
    best: tuple[int, int] | None = None
    position = start + MAX_CHARACTERS
    for match in _BOUNDARY.finditer(text, start + MIN_CHARACTERS, start + MAX_CHARACTERS):
        kind = (match.lastindex or 1) - 1
        if best and kind > best[0]:
            continue
        rank = (kind, zlib.crc32(text[match.start() - _CONTEXT : match.start()].encode()))
        if best is None or rank < best:
            best, position = rank, match.end()
    return position
