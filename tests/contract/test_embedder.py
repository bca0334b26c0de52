"""The contract of ``Embedder``, kept by every adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pegasus.adapters.hashing import HashEmbedder
from pegasus.adapters.minilm import MiniLmEmbedder
from pegasus.ports import Embedder

ADAPTERS: Mapping[str, Callable[[], Embedder]] = {"minilm": MiniLmEmbedder, "hash": HashEmbedder}
TEXTS = [
    "The northern route closes in November.",
    "",
    "short",
    "a sentence that is a good deal longer than the one above, and says nothing much about anything. " * 8,
    "def snake_case(x: int) -> str: ...",
    "東京タワー 🗼",
    " \n\t ",
    "!?",
]
NEAR = 1e-3


@cache
def adapter(name: str) -> Embedder:
    return ADAPTERS[name]()


@pytest.fixture(params=list(ADAPTERS))
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return adapter(request.param)


def test_each_text_has_a_vector_of_unit_length(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=NEAR)


def test_a_text_has_the_same_vector_alone_and_in_a_batch(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < NEAR


def test_the_order_of_texts_is_the_order_of_vectors(embedder: Embedder) -> None:
    assert np.abs(embedder.embed(TEXTS)[::-1] - embedder.embed(TEXTS[::-1])).max() < NEAR


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimensions)


def test_a_very_long_text_is_cut_not_refused(embedder: Embedder) -> None:
    (vector,) = embedder.embed(["winter in the harbour. " * 4_500])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=NEAR)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_text_has_a_vector_of_unit_length(embedder: Embedder, text: str) -> None:
    assert np.linalg.norm(embedder.embed([text])) == pytest.approx(1, abs=NEAR)


def test_shared_words_bring_texts_nearer(embedder: Embedder) -> None:
    question, answer, other = embedder.embed(
        ["when does the northern route close", "the northern route does close in November", "Bake bread for an hour"]
    )
    assert question @ answer > question @ other + 0.2


def test_threads_that_share_an_embedder_get_the_vectors_that_one_gets(embedder: Embedder) -> None:
    expected = embedder.embed(TEXTS)
    with ThreadPoolExecutor(2) as pool:
        for vectors in pool.map(lambda _: embedder.embed(TEXTS), range(2), timeout=60):
            assert np.abs(vectors - expected).max() < NEAR


def test_two_embedding_threads_give_what_one_gives() -> None:
    assert np.abs(MiniLmEmbedder(threads=2).embed(TEXTS) - adapter("minilm").embed(TEXTS)).max() < NEAR


def test_names_tell_embedders_apart() -> None:
    """A stored embedding of another name is stale, so two models must never share one."""
    assert len({adapter(name).name for name in ADAPTERS}) == len(ADAPTERS)


def test_a_model_knows_that_other_words_may_mean_the_same() -> None:
    question, answer, other = adapter("minilm").embed(
        ["How do I fix my car?", "Repairing a vehicle at home", "The cathedral was built in 1248"]
    )
    assert question @ answer > question @ other + 0.2
