"""Puts a document's plain text together block by block, so that every heading's offset is right by construction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pegasus.domain import Extraction, Heading, Link

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_LINKS = ("#", "javascript:", "data:", "about:")


class Composer:
    """Collects blocks in reading order; a blank line stands between them, none between two ``tight`` ones."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._tight = False
        self._headings: list[Heading] = []
        self._links: dict[Link, None] = {}

    def heading(self, title: str, level: int) -> None:
        """Adds a heading on a line of its own; white space in it becomes single spaces."""
        if line := " ".join(clean(title).split()):
            self._headings.append(Heading(self._append(line, tight=False), level, line))

    def block(self, text: str, *, tight: bool = False) -> None:
        """Adds a paragraph, or with ``tight`` a line of a list or table."""
        if body := clean(text).strip("\n").rstrip():
            self._append(body, tight=tight)

    def gap(self) -> None:
        """Lets a blank line stand before the next block, a tight one too."""
        self._tight = False

    def link(self, target: str, label: str) -> None:
        add_link(self._links, target, label, "hyperlink")

    def extraction(self, title: str | None = None, metadata: Mapping[str, Any] | None = None) -> Extraction:
        """What was collected; without a ``title`` the first heading is it. Empty metadata values are left out."""
        named = " ".join(clean(title or "").split()) or (self._headings[0].title if self._headings else None)
        facts = {key: value for key, value in (metadata or {}).items() if value not in (None, "", [], {})}
        return Extraction("".join(self._parts), named, self._headings, list(self._links), facts)

    def _append(self, body: str, *, tight: bool) -> int:
        separator = "" if not self._parts else "\n" if tight and self._tight else "\n\n"
        start = self._length + len(separator)
        self._parts += [separator, body]
        self._length, self._tight = start + len(body), tight
        return start


def clean(text: str) -> str:
    """The same text as it may be stored: newlines as ``\\n``, no NUL, no lone surrogate, nothing else changed."""
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))


def add_link(links: dict[Link, None], target: str, label: str, kind: str) -> None:
    """Adds a link that leads out of the document; a dict keeps them in order, each once."""
    address = clean(target).strip()
    if address and not address.lower().startswith(_NOT_LINKS):
        links[Link(address, " ".join(clean(label).split()) or address, kind)] = None
