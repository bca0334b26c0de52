"""The terms of PostgreSQL's full text are those of SQLite's: the same query finds the same passages on both."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pegasus.text.terms import terms

ROOTS = (
    "relat oper hop conform happi vil bl fizz fall tann agre plast hiss sky dij naïv étud über жил y yy a ee".split()
)
SUFFIXES = (
    "s ed ing es ies ational tional enci anci izer logi bli abli alli entli eli ousli ization ation ator alism iveness"
    " fulness ousness aliti iviti biliti icate ative alize iciti ical ful ness ement ment ent ion sion tion ll e eed y"
    " sses ss ance iti ize"
).split()


def of_fts5(texts: Sequence[str]) -> list[list[str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(x, tokenize='porter unicode61 remove_diacritics 2')")
        connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, 'instance')")
        connection.executemany("INSERT INTO t (rowid, x) VALUES (?, ?)", enumerate(texts))
        found: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for term, row, _, offset in connection.execute("SELECT term, doc, col, offset FROM v"):
            found[row].append((offset, term))
    return [[term for _, term in sorted(found[row])] for row in range(len(texts))]


def assert_the_same(texts: Sequence[str]) -> None:
    both = zip(texts, map(terms, texts), of_fts5(texts), strict=True)
    differing = [(text, ours, theirs) for text, ours, theirs in both if ours != theirs]
    assert differing == []


def test_words_of_real_texts_are_cut_as_fts5_cuts_them() -> None:
    files = Path(__file__, "../../../docs").resolve().rglob("*.md")
    words = {word for file in files for word in re.findall(r"\w+", file.read_text())}
    assert len(words) > 2_000
    assert_the_same(sorted(words))


def test_every_rule_of_the_stemmer_does_as_fts5_does() -> None:
    assert_the_same([root + suffix for root in ROOTS for suffix in ["", *SUFFIXES]])


def test_letters_of_europe_lose_case_and_accents_as_in_fts5() -> None:
    letters = [chr(code) for code in (*range(0x20, 0x250), *range(0x370, 0x500), *range(0x1E00, 0x2000))]
    unlike = set("ǡǠͿ")  # Of two accents one stays; and a letter that is younger than SQLite's tables.
    assert_the_same([f"q{letter}q" for letter in letters if letter.isalnum() and letter not in unlike])


@pytest.mark.parametrize("text", [
    "snake_case __init__ x_1", "C++ and C#", "don't", "re\u0301sume\u0301 writing", "the ﬁrst ﬂoor", "東京タワー",
    "м³ воды", "Die lange Straße", "हिन्दी भाषा", "Ⅷ kings", "İstanbul'da", "a" * 70 + "ing", "3.14 v2.0-rc1", "", " \n",
])  # fmt: skip
def test_texts_are_cut_as_fts5_cuts_them(text: str) -> None:
    assert_the_same([text])


def test_a_run_without_a_gap_is_cut_to_what_an_index_takes() -> None:
    assert terms("東" * 5_000) == ["東" * 255]
