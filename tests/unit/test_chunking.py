"""Chunking: nothing is lost or doubled, offsets are exact, and an edit changes only the chunks around it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegasus.domain import Chunk, Heading
from pegasus.ingestion.chunking import MAX_CHARACTERS, MIN_CHARACTERS, chunk_text
from pegasus.text.markdown import read_markdown

pieces = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["\n", "\n\n", " \n \n", " ", "\t", "\u3000", "\x1c", "。", ". ", "word " * 60, "x" * 1_000, "é\n"]
    ),
    st.integers(1, 300).map(lambda n: "Lorem ipsum dolor. " * n),
)
texts = st.lists(pieces, max_size=12).map("".join)
sections = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 60)), max_size=12)


def markdown(parts: list[tuple[int, int]], opening: str = "") -> str:
    """Sections of so many words, under headings of these levels."""
    return opening + "".join(
        f"{'#' * level} Heading {n}\n\n{' '.join(f'word{n}x{w}' for w in range(length))}\n\n"
        for n, (level, length) in enumerate(parts)
    )


def path_at(text: str, headings: list[Heading], offset: int) -> str:
    """The headings at or above the line of the offset."""
    path: list[Heading] = []
    for heading in headings:
        if text.rfind("\n", 0, heading.start) + 1 > offset:
            break
        path = [above for above in path if above.level < heading.level] + [heading]
    return " > ".join(heading.title for heading in path)


def check(text: str, chunks: list[Chunk]) -> None:
    assert [chunk.text for chunk in chunks] == [text[chunk.start : chunk.end] for chunk in chunks]
    assert all(before.end <= after.start for before, after in pairwise(chunks))
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())
    assert all(0 < len(chunk.text) <= MAX_CHARACTERS for chunk in chunks)
    assert all(chunk.text == chunk.text.strip() for chunk in chunks)


@given(texts)
def test_chunks_hold_every_character_that_is_no_space_once_and_in_order(text: str) -> None:
    check(text, chunk_text(text))


@given(texts, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 6)), max_size=8))
def test_the_same_holds_wherever_headings_stand(text: str, places: list[tuple[float, int]]) -> None:
    starts = sorted({(int(place * max(0, len(text) - 1)), level) for place, level in places})
    check(text, chunk_text(text, [Heading(start, level, f"H{start}") for start, level in starts]))


@given(sections, st.sampled_from(["", "An opening.\n\n", "Words before. " * 100 + "\n\n"]))
def test_a_chunk_has_the_headings_above_its_start(parts: list[tuple[int, int]], opening: str) -> None:
    text = markdown(parts, opening)
    headings = list(read_markdown(text).headings)
    assert len(headings) == len(parts)
    for chunk in chunk_text(text, headings):
        assert chunk.heading == path_at(text, headings, chunk.start)


def test_a_heading_ends_those_of_its_level_and_below() -> None:
    text = "".join(f"{name} {'about it ' * 60}\n\n" for name in "abcde")
    starts = [text.index(f"{name} about") for name in "abcde"]
    headings = [
        Heading(start, level, name) for start, level, name in zip(starts, (1, 2, 2, 3, 1), "abcde", strict=True)
    ]
    assert [chunk.heading for chunk in chunk_text(text, headings)] == ["a", "a > b", "a > c", "a > c > d", "e"]


@pytest.mark.parametrize("before", ["", "\n\n", " "])
def test_white_space_before_the_first_heading_does_not_hide_it(before: str) -> None:
    text = f"{before}Mooring\n\nDouble the lines."
    (chunk,) = chunk_text(text, [Heading(len(before), 1, "Mooring")])
    assert chunk.heading == "Mooring"


def test_the_marks_of_a_heading_stay_with_it() -> None:
    """Otherwise "#" becomes a passage of its own, and each section ends in the next one's marks."""
    text = markdown([(1, 100), (2, 100), (3, 100)])
    chunks = chunk_text(text, read_markdown(text).headings)
    assert [chunk.text[:11] for chunk in chunks if "Heading" in chunk.text] == [
        "# Heading 0",
        "## Heading ",
        "### Heading",
    ]
    assert not [chunk.text[-4:] for chunk in chunks if chunk.text.endswith("#")]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t", "\u3000\x1f"])
def test_a_text_of_white_space_has_no_chunks(text: str) -> None:
    assert chunk_text(text) == []


def test_a_short_text_is_one_chunk() -> None:
    assert chunk_text("  One.\n\nTwo. ") == [Chunk(2, 12, "One.\n\nTwo.", "")]


def test_paragraphs_are_not_cut_where_they_need_not_be() -> None:
    paragraphs = [f"Paragraph {n}. " + "It goes on. " * 30 for n in range(20)]
    starts = {chunk.text.split(".")[0] for chunk in chunk_text("\n\n".join(paragraphs))}
    assert starts <= {f"Paragraph {n}" for n in range(20)}


def test_a_sentence_is_rather_cut_after_than_within() -> None:
    chunks = chunk_text("This is one of many sentences in a row, without a paragraph. " * 50)
    assert all(chunk.text.endswith(".") for chunk in chunks)
    assert all(len(chunk.text) >= MIN_CHARACTERS for chunk in chunks[:-1])


def test_small_sections_are_kept_together() -> None:
    text = markdown([(1, 3)] * 10)
    assert len(chunk_text(text, read_markdown(text).headings)) <= 2


def prose(seed: int, paragraphs: int) -> list[str]:
    """Paragraphs of made-up sentences, never two alike."""
    chance = random.Random(seed)
    vocabulary = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(2, 9))) for _ in range(600)]

    def sentence() -> str:
        return " ".join(chance.choices(vocabulary, k=chance.randint(5, 20))).capitalize() + "."

    return [" ".join(sentence() for _ in range(chance.randint(1, 6))) for _ in range(paragraphs)]


@pytest.mark.parametrize("separator", ["\n\n", "\n", " "], ids=["paragraphs", "lines", "sentences"])
@pytest.mark.parametrize("seed", range(3))
def test_an_insertion_changes_only_the_chunks_around_it(separator: str, seed: int) -> None:
    """What does not change is not embedded again, wherever in a long text something is written."""
    paragraphs = prose(seed, 150)
    before = {chunk.text for chunk in chunk_text(separator.join(paragraphs))}
    changed = []
    for place in range(0, 150, 10):
        after = chunk_text(separator.join([*paragraphs[:place], f"New words at {place}.", *paragraphs[place:]]))
        changed.append(sum(chunk.text not in before for chunk in after))
    assert len(before) > 40
    assert sum(changed) / len(changed) <= 5
    assert max(changed) <= 20


def test_a_deletion_and_an_edit_do_no_more() -> None:
    paragraphs = prose(9, 150)
    before = {chunk.text for chunk in chunk_text("\n\n".join(paragraphs))}
    without = chunk_text("\n\n".join([*paragraphs[:40], *paragraphs[41:]]))
    edited = chunk_text("\n\n".join([*paragraphs[:40], paragraphs[40].upper(), *paragraphs[41:]]))
    assert sum(chunk.text not in before for chunk in without) <= 10
    assert sum(chunk.text not in before for chunk in edited) <= 10


def test_a_new_section_leaves_the_others_alone() -> None:
    parts = [(2, 120)] * 8
    before = {chunk.text for chunk in chunk_text(markdown(parts), read_markdown(markdown(parts)).headings)}
    text = "## New\n\nSomething quite new that stands first, and is long enough to be alone. " * 4 + "\n\n"
    text += markdown(parts)
    after = chunk_text(text, read_markdown(text).headings)
    assert before <= {chunk.text for chunk in after}


def test_a_long_text_is_cut_in_time_in_proportion() -> None:
    """The largest text that is accepted has 20 million; the test's time limit is the assertion."""
    for piece in ("word ", "x", "\n", "a.\n\n", "。"):
        text = piece * (200_000 // len(piece))
        assert "".join("".join(chunk.text for chunk in chunk_text(text)).split()) == "".join(text.split())
