"""Words and sentences of a text with their offsets: pure, shared by search and by answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pegasus.text.stopwords import STOP_WORDS

# Letters and digits, each with the accents that stand after it as characters of their own.
_WORD = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+")
# A sentence ends at a stop followed by space and what may begin the next one, at an empty line, or where an item of a
# list or a row of a table begins.
_SENTENCE_END = re.compile(
    r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9\u00c0-\u024f\u0370-\uffff])|(?<=[。！？])|\n\s*\n\s*"
    r"|\n(?=[ \t]*(?:[-•*–|]|\d{1,3}[.)])\s)"
)
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|approx|Inc|Ltd|Jr|[A-Z]))\.$")
_SUFFIXES = ("ingly", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s", "e", "y")


def words(text: str) -> Iterator[tuple[str, int, int]]:
    """(casefolded word, start, end) of each word, as the full-text index cuts them: ``snake_case`` is two words."""
    for match in _WORD.finditer(text):
        yield match.group().casefold(), match.start(), match.end()


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A crude stem, only ever compared with other crude stems: "indexes", "indexing" and "index" agree."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


def stems(text: str) -> list[str]:
    """The stems of all words, in order."""
    return [stem(word) for word in _WORD.findall(text.casefold())]


def content_words(text: str, limit: int) -> list[str]:
    """The distinct words that say what a text is about, in order; all words, where there are no others."""
    # In lower case, not casefolded: the full-text index keeps an ß and a ligature as they are.
    found = dict.fromkeys(_WORD.findall(text.lower()))
    return ([word for word in found if word not in STOP_WORDS] or list(found))[:limit]


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences, without white space around them."""
    spans, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        before = text[start : match.start()]
        if _ABBREVIATION.search(before[-12:]) and match.group().count("\n") < 2:
            continue
        spans.append((start, match.start() + len(match.group()) - len(match.group().lstrip("\"')]"))))
        start = match.end()
    spans.append((start, len(text)))
    return [
        (a + len(text[a:b]) - len(text[a:b].lstrip()), a + len(text[a:b].rstrip()))
        for a, b in spans
        if text[a:b].strip()
    ]
