"""What the rules take for an entity, what they leave, and that no text can hurt them."""

from __future__ import annotations

import importlib.util
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegasus.adapters.spacy_entities import SpacyEntityFinder
from pegasus.errors import Misconfigured
from pegasus.text.entities import (
    WEIGHTS,
    Mention,
    entity_key,
    find_mentions,
    query_keys,
)
from pegasus.text.stopwords import STOP_WORDS


def names(text: str, kind: str | None = None) -> list[str]:
    return [mention.name for mention in find_mentions(text, limit=50) if kind in (None, mention.kind)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We met Tom Becker at Hansen & Sons in Kiel.", ["Tom Becker", "Hansen & Sons", "Kiel"]),
        ("He moved from the University of Oslo to The Hague.", ["University of Oslo", "Hague"]),
        ("Then Vincent van Gogh and Jean-Luc left.", ["Vincent van Gogh", "Jean-Luc"]),
        ("They read J. R. R. Tolkien and Dr. Elena Vasquez.", ["J. R. R. Tolkien", "Elena Vasquez"]),
        ("It runs on Python 3.11 and Apollo 11 flew.", ["Python 3.11", "Apollo 11"]),
        ("On Monday Anna saw 12 people in March 2024.", ["Anna"]),
        ("We read “The Left Hand of Darkness” there.", ["The Left Hand of Darkness"]),
        ("PROJECT STATUS REPORT\nIt is late.", ["Project Status Report"]),
        ("Elle étudie à l'Université de Genève avec Zoé.", ["Université de Genève", "Zoé"]),
        ("Ayer visité el Museo del Prado con María José García.", ["Museo del Prado", "María José García"]),
        ("Der Vertrag mit der Deutschen Bahn gilt in München.", ["Vertrag", "Deutschen Bahn", "München"]),
    ],
)
def test_finds_names(text: str, expected: list[str]) -> None:
    assert names(text, "name") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna called about it.", ["Anna"]),  # what people do
        ("Priya's team owns it.", ["Priya"]),  # a possessive
        ("Anna, Tom and Eve were there.", ["Anna", "Tom", "Eve"]),
        ("Zurich was cold. We left Zurich.", ["Zurich"]),  # the other mention shows it
        ("Returns the value. Dinner was good. Quickly done.", []),
        ("Using Python we left. Hiking Mount Fuji was fun.", ["Python", "Mount Fuji"]),
        ("New York is big.", ["New York"]),
        ("Call Mira.", ["Mira"]),
    ],
)
def test_takes_a_capital_at_the_start_of_a_sentence_only_with_evidence(text: str, expected: list[str]) -> None:
    assert names(text, "name") == expected


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("It uses TLS and the APIs, NOT the UNREADABLE rest.", "acronym", ["TLS", "API"]),
        ("write to ana.b+x@mail.example.org.", "email", ["ana.b+x@mail.example.org"]),
        ("ask @mira about #pegasus/search and #fff000", "tag", ["@mira", "#pegasus/search"]),
        ("see [[Warehouse Migration|the move]] and [[-]]", "wiki", ["Warehouse Migration"]),
        ("edit ingest_worker.py or notes.md", "identifier", ["ingest_worker.py", "notes.md"]),
        (
            "FileFinder, IPv4Net, path_hook, `frame`, len()",
            "identifier",
            "FileFinder IPv4Net path_hook frame len".split(),
        ),
        ("see importlib.FileFinder.find", "identifier", ["importlib.FileFinder.find", "FileFinder"]),
        ("la vie de l'Anna's C++ and the R&D of AT&T", None, ["Anna", "C++", "R&D", "AT&T"]),
        ("at https://example.com/Some_Page now", None, []),
        ("It is done.Then we left, e.g. by train, at 3.14 or 10 a.m. today.", None, []),
    ],
)
def test_finds_what_is_plain_from_its_spelling(text: str, kind: str | None, expected: list[str]) -> None:
    assert names(text, kind) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the connection pool of the mobile app crashes", ["connection pool", "mobile app"]),
        ("she painted kitchen cabinets after the weighted fusion", ["kitchen cabinets", "weighted fusion"]),
        ("It improves by pruning files, and they can ski downhill.", []),
        ("Book train tickets for the trip.", ["train tickets"]),
        ("This line is long enough to be a line of prose about the migration\nplan of ours.", ["migration plan"]),
        ("This is the apple\ntree of ours.", []),
        ("the cheap red garden bench auction catalogue", ["bench auction catalogue"]),
        ("- apple tree\n- rain barrel", ["apple tree", "rain barrel"]),
        ("hat gestern einen neuen vertrag unterschrieben", []),  # no English prose
    ],
)
def test_finds_key_phrases(text: str, expected: list[str]) -> None:
    assert names(text, "phrase") == expected


def test_finds_the_full_name_of_an_acronym() -> None:
    assert names("It is optical character recognition (OCR).") == ["optical character recognition", "OCR"]
    assert "Centre for Applied Mathematics" in names("at the Centre for Applied Mathematics (CAM)")
    assert "talk about applied mathematics" not in names("a talk about applied mathematics (CAM)")


def test_spans_are_the_surface_and_each_key_comes_once() -> None:
    text = "We met Priya’s team. Then Priya and the\nother teams left for Kiel with neural networks: a neural network."
    found = find_mentions(text)
    assert [(text[m.start : m.end], m.key) for m in found] == [
        ("Priya", "priya"),
        ("Kiel", "kiel"),
        ("neural networks", "neural network"),
    ]


def test_a_name_stands_where_it_is_first_mentioned() -> None:
    assert [m.start for m in find_mentions("Zurich was cold. We left Zurich.")] == [0]


def test_keeps_the_best_in_order_of_position() -> None:
    text = "The rain barrel and the rain gauge stand near Kiel, wrote a@b.example to [[Garden]]."
    assert [m.kind for m in find_mentions(text, limit=3)] == ["name", "email", "wiki"]
    assert find_mentions(text, limit=4)[0].name == "rain barrel"
    assert find_mentions(text, limit=0) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Neural Networks", "neural  network"),
        ("Machine-Learning", "machine learning"),
        ("Priya's", "PRIYA"),
        ("Straße", "STRASSE"),
        ("Zoe\u0301", "Zoé"),
        ("key entries", "key entry"),
    ],
)
def test_spellings_of_one_entity_share_a_key(one: str, other: str) -> None:
    assert entity_key(one) == entity_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Williams", "William"), ("os.path", "ospath"), ("business class", "busines clas")]
)
def test_different_entities_keep_different_keys(one: str, other: str) -> None:
    assert entity_key(one) != entity_key(other)


def test_a_decomposed_accent_does_not_cut_a_name() -> None:
    text = "We met Ame\u0301lie Dupre\u0301 there."
    assert [m.key for m in find_mentions(text)] == ["am\u00e9lie dupr\u00e9"]


@pytest.mark.parametrize(
    ("question", "keys"),
    [
        ("what did mira say about neural networks in zurich?", {"mira", "neural network", "zurich"}),
        ("who works at the university of oslo", {"university of oslo", "oslo"}),
        ("where is leonardo da vinci's notebook", {"leonardo da vinci"}),
        ("how do I call FileFinder.path_hook?", {"filefinder.path_hook", "path_hook"}),
        ("which APIs does TLS need", {"api", "tls"}),
    ],
)
def test_a_question_in_lower_case_gives_the_keys_of_the_notes(question: str, keys: set[str]) -> None:
    found = query_keys(question)
    assert keys <= set(found)
    assert len(found) == len(set(found))
    assert not STOP_WORDS & set(found)


def test_a_long_question_is_limited() -> None:
    assert len(query_keys("alpha beta gamma delta epsilon zeta eta theta " * 1000, limit=7)) == 7


def _is_valid(mention: Mention, text: str) -> bool:
    return (
        0 <= mention.start < mention.end <= len(text)
        and not text[mention.start : mention.end].isspace()
        and bool(mention.name)
        and bool(mention.key)
        and mention.kind in WEIGHTS
    )


_PIECES = st.sampled_from(
    "Anna NASA the of 's ’ ( ) [[ ]] # @ . _ ` \" “ ” a B & - + 3 İ ß e\u0301 \u0301 東京 von Dr l' http:// ()".split(
        " "
    )
    + [" ", "\n", "\n\n", "\x00"]
)


@given(st.text() | st.lists(_PIECES, max_size=40).map("".join))
def test_any_text_gives_valid_spans(text: str) -> None:
    found = find_mentions(text)
    assert all(_is_valid(mention, text) for mention in found)
    assert len({mention.key for mention in found}) == len(found) <= 12
    assert found == sorted(found, key=lambda mention: (mention.start, mention.end))
    assert all(query_keys(text))


@pytest.mark.parametrize(
    "unit", ["A", "(", "[[", '"a', "@", "#a", "a.", "a-", "a'", "\n", " ", "A ", "Aa of the ", "a@b.", "`a`", "(AB) "]
)
def test_hostile_text_takes_little_time(unit: str) -> None:
    before = time.process_time()
    find_mentions(unit * (1_000_000 // len(unit)))
    assert time.process_time() - before < 2  # some 0.06 s; quadratic work would take minutes


@pytest.mark.skipif(importlib.util.find_spec("spacy") is not None, reason="spaCy is installed")
def test_without_spacy_the_hint_is_the_install_command() -> None:
    with pytest.raises(Misconfigured) as raised:
        SpacyEntityFinder()
    assert raised.value.hint == "pip install 'pegasus[nlp]'"
