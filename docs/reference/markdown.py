"""The little Markdown that the reference pages are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

MARK = "<!-- docs/generate.py wrote this page from the code: change the code and run `make docs`. -->\n\n"

Json = dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines) + "\n"


def _cell(words: str) -> str:
    return " ".join(words.replace("|", "\\|").split())


def code(words: object) -> str:
    return f"`{words}`"


def prose(words: str | None) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(words or "").replace("``", "`")
