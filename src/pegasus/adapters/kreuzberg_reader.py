"""Reads PDF and Office files with kreuzberg, and makes good what 4.10 loses; only the child process imports this."""

from __future__ import annotations

import html
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from kreuzberg import ExtractionConfig, ExtractionResult, KreuzbergError, extract_bytes_sync

from pegasus.domain import Extraction
from pegasus.errors import Unreadable
from pegasus.text.composer import Composer, clean
from pegasus.text.formats import DOCX, NAMES, PDF, PPTX, XLSX
from pegasus.text.records import record_texts

# Private characters that stand in for what kreuzberg would drop, until its result is there: an ASCII character lies
# behind the base, and the mark keeps "1." at the start of a run from being taken for a list's own number.
_STAND_IN_BASE = 0xF0000
_MARK = chr(_STAND_IN_BASE)
_RESTORE = {_STAND_IN_BASE + code: chr(code) for code in range(1, 128)} | {_STAND_IN_BASE: None}

_Replacement = bytes | Callable[[re.Match[bytes]], bytes]


def _stand_in(reference: re.Match[bytes]) -> bytes:
    character = html.unescape(reference[0].decode())
    return "".join(chr(_STAND_IN_BASE + ord(c)) if c.isascii() else c for c in character).encode()


# https://github.com/xberg-io/xberg/issues/1242: "AT&amp;T" in a docx comes out as "ATT".
_REPAIRS: Mapping[str, tuple[str, Sequence[tuple[re.Pattern[bytes], _Replacement]]]] = {
    DOCX: (
        "word/",
        (
            (re.compile(rb"&(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});"), _stand_in),
            (re.compile(rb"<w:tab\s*/>"), b'<w:t xml:space="preserve">\t</w:t>'),
            (re.compile(rb"<w:noBreakHyphen\s*/>"), "<w:t>\u2011</w:t>".encode()),
        ),
    ),
    PPTX: ("ppt/slides/slide", ((re.compile(rb"<a:t>"), b"<a:t>" + _MARK.encode()),)),
}


def read_with_kreuzberg(content: bytes, media_type: str) -> Extraction:
    """The file's text; empty when there is none. Raises ``Unreadable`` when it is damaged or locked."""
    structured = _extract(_repaired(content, media_type), media_type, "markdown")
    composer = Composer()
    if media_type == PDF:
        # The structure misplaces characters, so it only says which lines of the plain text are headings.
        _compose_pdf(composer, _extract(content, PDF, "plain").content, _nodes(structured))
    else:
        _compose_nodes(composer, _nodes(structured), media_type)
    for link in structured.uris or ():
        if link["kind"] == "hyperlink":
            composer.link(html.unescape(_restored(link["url"])), _restored(link["label"] or ""))
    return composer.extraction(structured.metadata.get("title"), _metadata(structured))


def _extract(content: bytes, media_type: str, output_format: str) -> ExtractionResult:
    config = ExtractionConfig(
        use_cache=False,  # it would write below the home folder
        enable_quality_processing=False,  # it would change the author's words
        output_format=output_format,
        include_document_structure=output_format == "markdown",
    )
    try:
        return extract_bytes_sync(content, media_type, config)
    except KreuzbergError as error:
        raise _unreadable(str(error), media_type) from error


def _unreadable(reason: str, media_type: str) -> Unreadable:
    name = NAMES[media_type]
    if "password" in reason.lower():
        return Unreadable(f"The {name} is protected with a password.", hint="Remove the password and add it again.")
    # kreuzberg says the same thing twice, each time behind the name of its own error.
    cause = list(dict.fromkeys(reason.removeprefix("ParsingError: ").split(": ")))[-1].rstrip(".")
    return Unreadable(
        f"The {name} is damaged and cannot be read: {cause}.", hint="Open and save it again, or download it once more."
    )


def _repaired(content: bytes, media_type: str) -> bytes:
    if media_type not in _REPAIRS:
        return content
    folder, repairs = _REPAIRS[media_type]
    repaired = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(repaired, "w") as target:
            for info in source.infolist():
                part = source.read(info)
                if info.filename.startswith(folder) and info.filename.endswith((".xml", ".rels")):
                    for pattern, replacement in repairs:
                        part = pattern.sub(replacement, part)
                target.writestr(info.filename, part)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _unreadable(str(error), media_type) from error
    return repaired.getvalue()


def _restored(text: str) -> str:
    return text.translate(_RESTORE)


def _nodes(result: ExtractionResult) -> Sequence[Mapping[str, Any]]:
    nodes: Sequence[Mapping[str, Any]] = result.document["nodes"] if result.document else ()
    return nodes


def _compose_pdf(composer: Composer, text: str, nodes: Sequence[Mapping[str, Any]]) -> None:
    text, end = clean(text), 0
    for content in (node["content"] for node in nodes if node["content"]["node_type"] == "heading"):
        words = r"\s+".join(map(re.escape, content["text"].split()))
        found = re.compile(rf"^[ \t]*({words})[ \t]*$", re.MULTILINE).search(text, end) if words else None
        if found:
            composer.block(text[end : found.start()])
            composer.heading(found[1], content["level"])
            end = found.end()
    composer.block(text[end:])


def _compose_nodes(composer: Composer, nodes: Sequence[Mapping[str, Any]], media_type: str) -> None:
    ordered = {index for index, node in enumerate(nodes) if node["content"].get("ordered")}
    numbers: dict[int, int] = {}
    for node in nodes:
        content, parent = node["content"], node.get("parent")
        text = _restored(content.get("text") or "")
        match content["node_type"]:
            case "title" | "heading":
                composer.heading(text, content.get("level", 1))
            case "table":
                _compose_table(composer, _rows(content["grid"]), media_type)
            case "list_item" if parent in ordered:
                numbers[parent] = numbers.get(parent, 0) + 1
                composer.block(f"{numbers[parent]}. {text}", tight=True)
            case "list_item":
                composer.block(text, tight=True)
            case _:
                composer.block(text)


def _compose_table(composer: Composer, rows: Sequence[Sequence[str]], media_type: str) -> None:
    """A sheet's rows are records under a header; a table in prose may be of any make, so its cells stay as they are."""
    if media_type == XLSX:
        for record in record_texts(rows):
            composer.block(record)
        return
    composer.gap()
    for row in rows:
        composer.block("\t".join(" ".join(cell.split()) for cell in row), tight=True)
    composer.gap()


def _rows(grid: Mapping[str, Any]) -> list[list[str]]:
    by_row = groupby(grid["cells"], key=lambda cell: cell["row"])
    return [[_restored(cell["content"]) for cell in cells] for _, cells in by_row]


def _metadata(result: ExtractionResult) -> dict[str, Any]:
    facts: Mapping[str, Any] = result.metadata
    return {
        "author": ", ".join(facts.get("authors") or ()),
        "created": facts.get("created_at"),
        "modified": facts.get("modified_at"),
        "subject": facts.get("subject"),
        "keywords": facts.get("keywords"),
        "language": facts.get("language"),
        "pages": facts.get("page_count"),
        "sheets": facts.get("sheet_count"),
        "warnings": [warning.message for warning in result.processing_warnings],
    }
