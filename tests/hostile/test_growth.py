"""No text makes a reader take more than linear time: given eight times as much, it takes some eight times as long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pegasus.domain import Link, Passage
from pegasus.errors import PegasusError
from pegasus.ingestion.chunking import chunk_text
from pegasus.ingestion.links import document_keys, link_key
from pegasus.search.service import Highlighter
from pegasus.text.entities import find_mentions
from pegasus.text.formats import decode_text, detect_media_type
from pegasus.text.lines import visible
from pegasus.text.markdown import read_markdown
from pegasus.text.records import read_csv, read_json
from pegasus.text.words import content_words, sentences, stems

_CHARACTERS, _TIMES = 4_000, 8
# Linear is 8, quadratic is 64; a busy machine and small numbers blur it.
_MOST, _BLUR_SECONDS = 24, 0.03

PIECES = [
    "a", "A", " ", "\n", "\t", "\r", ".", "-", "#", "=", "`", "[", "]", "(", ")", "<", ">", "|", "*", "_", "!", "?", ":", "@", "&", "'",
    '"', "\\", "/", "{", ",", "1", "é", "北", "。", "\u0301", "e\u0301", "\u200d", "\u2028", "…", "’", "𝔘", "\x0c", "\x1a",
    "[a", "![", "![a](", "[[", "[[a|", "[a](", "[a][", "[x]: ", "\n[x]: <", "# ", "# x", "\n# x ", "#a", "##", "<a", "<a@", "<http://",
    "http://", "www.", "a@", "a@a.", "a.", "A.", "A. ", "A.B", "Aa", "Aa Bb ", "A B ", "a-", "a_1", "a/", "a:", "(A", "a'", "``a ",
    "\n ", " \n", "\n\n", "\n- ", "\n1. ", "\n> ", "\n\t", "---\n", "---\na: ", "\n===", "~~~\n", "a\n---\n", ' "', '."', "!'\"", ".)",
    "a,", '"a",', '"",', '{"a":', "[1,", "[{},", "\\u0041", "a;", "; charset=", "To:", "To: a\n",
]  # fmt: skip
# What stands around the repeated piece: in the middle of a heading, of front matter, of a list in JSON.
FRAMES = [("", ""), ("# x", "x"), ("---\n", "\n"), ("[", "x")]


def _headed(text: str) -> Any:
    return chunk_text(text, read_markdown(text).headings)


def _highlighted(text: str) -> Any:
    passage = Passage("", "", 1, "", "", text, 0, len(text), "", embedded=False)
    return Highlighter("a b c Aa x http naïve 北").spans(passage)


def _detected(text: str) -> Any:
    return detect_media_type(text.encode(), None, None), decode_text(text.encode(), None)


def _linked(text: str) -> Any:
    return link_key(Link(text, text, "hyperlink"), text), document_keys(text, text, [text])


READERS: list[Callable[[str], Any]] = [
    read_markdown, chunk_text, _headed, sentences, stems, find_mentions, read_csv, read_json, _detected, _highlighted,
    _linked, visible, partial(content_words, limit=100),
]  # fmt: skip


def seconds(work: Callable[[str], Any], text: str) -> float:
    """Of this thread's own time, so that others' work on the machine counts as little as can be."""
    begun = time.thread_time()
    with contextlib.suppress(PegasusError):
        work(text)
    return time.thread_time() - begun


def grows_too_fast(reader: Callable[[str], Any], prefix: str, piece: str, suffix: str) -> bool:
    """Asked twice before it is believed."""

    def of(size: int) -> float:
        return seconds(reader, prefix + piece * (size // len(piece)) + suffix)

    return all(
        (long := of(_TIMES * _CHARACTERS)) > _BLUR_SECONDS and long > _MOST * of(_CHARACTERS) + _BLUR_SECONDS
        for _ in range(2)
    )


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: getattr(reader, "__name__", "content_words"))
def test_a_reader_takes_linear_time_on_whatever_is_repeated(reader: Callable[[str], Any]) -> None:
    frames = FRAMES if reader in (read_markdown, _headed, read_json) else FRAMES[:1]
    tried = [(prefix, piece, suffix) for piece in PIECES for prefix, suffix in frames]
    assert [one for one in tried if grows_too_fast(reader, *one)] == []
