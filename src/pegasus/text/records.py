"""Turns tables and JSON into text that a person can read and quote, field by field."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pegasus.domain import Extraction
from pegasus.errors import Unreadable
from pegasus.text.composer import Composer

_DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 16_384
_MAX_DEPTH = 100
_TITLE_FIELDS = ("title", "name", "subject", "headline")
_PROSE_FIELDS = frozenset({"text", "content", "body", "description", "summary", "abstract", "message", "note"})


def read_csv(text: str) -> Extraction:
    """One paragraph a row; cells stay as they are written, formulas included."""
    composer = Composer()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise Unreadable(
            f"The CSV cannot be read: {error}, at line {reader.line_num}.",
            hint='Look for a quotation mark (") that is opened there and never closed.',
        ) from error
    for record in record_texts(rows):
        composer.block(record)
    return composer.extraction(metadata={"rows": len(rows)})


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first rows most evenly into columns, the comma when none does."""
    return max(_DELIMITERS, key=lambda delimiter: _evenness(text[:_SAMPLE_CHARACTERS], delimiter))


def _evenness(sample: str, delimiter: str) -> float:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    rows = [row for row in islice(reader, 50) if row]
    if not rows:
        return 0.0
    width, times = Counter(map(len, rows)).most_common(1)[0]
    return times / len(rows) if width > 1 else 0.0


def record_texts(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each row as lines of ``header: value`` where the first row is a header, else as its cells side by side."""
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    header = [cell.strip() for cell in filled[0]] if filled else []
    if len(filled) < 2 or not _is_header(header):
        yield from ("\t".join(cell.strip() for cell in row).rstrip() for row in filled)
        return
    for row in filled[1:]:
        names = header + [""] * (len(row) - len(header))
        fields = ((name, cell.strip()) for name, cell in zip(names, row, strict=False))
        yield "\n".join(f"{name}: {value}" if name else value for name, value in fields if value)


def _is_header(cells: Sequence[str]) -> bool:
    """Names are there, differ, and are no numbers."""
    named = [cell for cell in cells if cell]
    return len(named) > len(cells) / 2 and len(set(named)) == len(named) and not any(map(_is_number, named))


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def read_json(text: str) -> Extraction:
    """Lines of ``path: value``; a title becomes a heading, and a field such as ``body`` a paragraph of prose."""
    try:
        # Numbers stay as they are written: 1.10 is not 1.1, and a long one is not refused.
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"The JSON is not valid: {error.msg} at line {error.lineno}, column {error.colno}.",
            hint="Mend it there; `python -m json.tool` checks a file.",
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    composer = Composer()
    _compose(composer, "", value, depth=0)
    return composer.extraction()


def _compose(composer: Composer, path: str, value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, dict):
        _compose_object(composer, path, value, depth)
    elif isinstance(value, list) and all(not isinstance(item, dict | list) for item in value):
        _compose_scalar(composer, path, ", ".join(map(_scalar, value)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _compose(composer, f"{path}[{index}]", item, depth + 1)
    else:
        _compose_scalar(composer, path, _scalar(value))


def _compose_object(composer: Composer, path: str, value: dict[str, Any], depth: int) -> None:
    fields = dict(value)
    title_field = next((name for name in _TITLE_FIELDS if isinstance(value.get(name), str)), None)
    if title_field and any(name.lower() in _PROSE_FIELDS for name in value):
        composer.heading(fields.pop(title_field), min(depth + 1, 6))
        path = ""  # the heading says where these fields belong
    for name, item in fields.items():
        if isinstance(item, str) and name.lower() in _PROSE_FIELDS:
            composer.block(item)
        else:
            _compose(composer, f"{path}.{name}" if path else name, item, depth + 1)


def _compose_scalar(composer: Composer, path: str, text: str) -> None:
    if text:
        composer.block(f"{path}: {text}" if path else text, tight=True)


def _scalar(value: str | bool | None) -> str:
    return value if isinstance(value, str) else {True: "true", False: "false", None: ""}[value]


def _too_deep() -> Unreadable:
    return Unreadable(f"The JSON is nested deeper than {_MAX_DEPTH} levels.", hint="Flatten it, or add its parts.")
