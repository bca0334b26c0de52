"""Fusing rankings: what is sure on one side is not outvoted, and ties fall the same way each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegasus.search.fusion import fuse, literalness, ranks

EVEN = {"a": 0.5, "b": 0.5}
rankings = st.dictionaries(st.text("xyz123", min_size=1, max_size=2), st.floats(-50, 50), max_size=12).map(
    lambda scores: sorted(scores.items(), key=lambda item: -item[1])
)


def order(**sides: list[tuple[str, float]]) -> list[str]:
    return [id_ for id_, _ in fuse(sides, EVEN)]


def test_scores_are_scaled_and_added_by_weight() -> None:
    sides = {"a": [("x", 30.0), ("y", 20.0), ("z", 10.0)], "b": [("z", 0.9), ("y", 0.8)]}
    assert dict(fuse(sides, {"a": 1.0, "b": 0.1})) == pytest.approx({"x": 1.0, "y": 0.5, "z": 0.1})


def test_a_side_that_is_sure_is_not_outvoted_by_ranks() -> None:
    """By ranks alone x and y would tie; the score says that x is far better where it is better."""
    assert order(a=[("x", 10), ("y", 1), ("z", 0)], b=[("y", 1.0), ("x", 0.99), ("z", 0)]) == ["x", "y", "z"]


def test_what_both_sides_have_goes_before_what_one_has() -> None:
    assert order(a=[("x", 2), ("y", 2), ("z", 1)], b=[("y", 2), ("v", 1)])[0] == "y"


@pytest.mark.parametrize("score", [5.0, 0.0, -3.0])
def test_equal_scores_all_count_as_the_best_and_fall_by_id(score: float) -> None:
    assert fuse({"a": [("y", score), ("x", score)]}, EVEN) == [("x", 0.5), ("y", 0.5)]


def test_nothing_fused_is_nothing() -> None:
    assert fuse({}, EVEN) == []
    assert fuse({"a": [], "b": []}, EVEN) == []
    assert order(a=[], b=[("x", 1)]) == ["x"]


def test_an_unknown_side_is_an_error_not_a_weight_of_nothing() -> None:
    with pytest.raises(KeyError):
        fuse({"c": [("x", 1.0)]}, EVEN)


@given(rankings, rankings)
def test_each_id_comes_once_best_first_within_the_weights(
    a: list[tuple[str, float]], b: list[tuple[str, float]]
) -> None:
    fused = fuse({"a": a, "b": b}, EVEN)
    scores = [score for _, score in fused]
    assert {id_ for id_, _ in fused} == {id_ for id_, _ in a + b}
    assert len(fused) == len(dict(fused))
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 + 1e-9 for score in scores)


@given(rankings)
def test_one_side_alone_keeps_its_order(side: list[tuple[str, float]]) -> None:
    place = dict(side)
    assert [place[id_] for id_ in order(a=side)] == pytest.approx([score for _, score in side], abs=1e-6)


def test_ranks_count_from_one_on_each_side() -> None:
    assert ranks({"a": [("x", 3.0), ("y", 1.0)], "b": []}) == {"a": {"x": 1, "y": 2}, "b": {}}


@pytest.mark.parametrize(("query", "text", "share"), [
    ("northern route", "The route is northern", 1.0),
    ("northern route", "a northern wind", 0.5),
    ("when does the northern route close", "When does the northern route close?", 1.0),
    ("when does the northern route close", "close route northern the does when", 0.0),
    ("northern northern", "northern", 1.0),
    ("anything", "", 0.0),
    ("", "anything", 0.0),
    ("!?", "?!", 0.0),
])  # fmt: skip
def test_literalness_is_the_share_of_words_or_neighbours(query: str, text: str, share: float) -> None:
    assert literalness(query, text) == share


@given(st.text(), st.text())
def test_literalness_is_a_share_and_whole_for_the_text_itself(query: str, text: str) -> None:
    assert 0 <= literalness(query, text) <= 1
    assert literalness(query, query) in (0, 1)
