"""Words and sentences: where each begins and ends, to the character."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegasus.text.words import content_words, sentences, stem, stems, words


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


# --- Words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("Snake_case and __dunder__", ["snake", "case", "and", "dunder"]),
    ("don't re-read C++20", ["don", "t", "re", "read", "c", "20"]),
    ("Straße ÉTÉ Ωμέγα", ["strasse", "été", "ωμέγα"]),
    ("", []),
    ("_ - !", []),
])  # fmt: skip
def test_words_are_cut_and_folded(text: str, expected: list[str]) -> None:
    assert [word for word, _, _ in words(text)] == expected


@given(st.text())
def test_a_words_offsets_are_where_it_stands(text: str) -> None:
    end_before = 0
    for word, start, end in words(text):
        assert start >= end_before
        assert text[start:end].casefold() == word
        assert text[start:end].isalnum()
        end_before = end


@pytest.mark.parametrize("forms", [
    "index indexes indexed indexing", "route routes", "study studies studied", "close closes closed closing",
    "quick quickly",
])  # fmt: skip
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize("word", ["is", "the", "sea", "bed", "x", ""])
def test_short_words_are_left_whole(word: str) -> None:
    assert stem(word) == word


def test_stems_come_in_order() -> None:
    assert stems("Routes, closed!") == [stem("routes"), stem("closed")]


def test_content_words_leave_out_what_says_nothing_each_word_once() -> None:
    assert content_words("When does the northern route close, the Northern one?", 10) == ["northern", "route", "close"]
    assert content_words("a b c d", 2) == ["b", "c"]


def test_a_question_of_function_words_alone_keeps_them() -> None:
    assert content_words("to be or not to be", 10) == ["to", "be", "or", "not"]


# --- Sentences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("One. Two! Three?", ["One.", "Two!", "Three?"]),
    ("He said “Stop.” Then he left.", ["He said “Stop.” Then he left."]),
    ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
    ("It ended (at last.) Then it rained.", ["It ended (at last.)", "Then it rained."]),
    ("A heading\n\nA paragraph\nof two lines", ["A heading", "A paragraph\nof two lines"]),
    ("version 3.11 is out. pip knows", ["version 3.11 is out. pip knows"]),
    ("終わり。始まり！", ["終わり。", "始まり！"]),
    ("  \n padded. \n\n\n ", ["padded."]),
    ("...", ["..."]),
    ("", []),
    (" \n\n ", []),
])  # fmt: skip
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@pytest.mark.parametrize("text", [
    "Dr. Okafor arrived.", "See Fig. 3 for it.", "It sells fruit, e.g. Apples.", "J. R. R. Tolkien wrote it.",
    "Pegasus Inc. Boston office", "Mr. and Mrs. Smith",
])  # fmt: skip
def test_an_abbreviation_ends_no_sentence(text: str) -> None:
    assert cut(text) == [text]


def test_a_paragraph_ends_even_after_an_abbreviation() -> None:
    assert cut("Written by the Dr.\n\nNext part.") == ["Written by the Dr.", "Next part."]
    assert cut("Written by the Dr.\n \nNext part.") == ["Written by the Dr.", "Next part."]  # An empty line, too.


@given(st.text(st.sampled_from("aB. \n!?\"')(。é_1")))
def test_sentences_hold_every_character_that_is_no_space_once_and_in_order(text: str) -> None:
    parts = cut(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part == part.strip() != "" for part in parts)
    spans = sentences(text)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize("piece", ["a. B", '."', "x\n \n", "Dr. ", " ", "?!"])
def test_cutting_a_hostile_text_takes_time_in_proportion(piece: str) -> None:
    """The time limit is the assertion; a pattern that backtracks would need hours."""
    text = piece * (100_000 // len(piece))
    assert "".join("".join(cut(text)).split()) == "".join(text.split())
