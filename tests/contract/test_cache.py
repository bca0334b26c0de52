"""What a cache promises; and what questions keep in it, which neither tells of them nor is believed blindly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import pytest
from redis_server import RedisServer, connected

from pegasus.adapters.hashing import HashEmbedder
from pegasus.adapters.redis_cache import RedisCache
from pegasus.identifiers import new_id
from pegasus.ports import Vectors
from pegasus.search.questions import Questions

QUESTION = "Where did we meet Pedro?"


@pytest.fixture(params=["redis", "cluster"])
def servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[RedisServer]:
    found = request.getfixturevalue("redis" if request.param == "redis" else "redis_nodes")
    servers: list[RedisServer] = found if isinstance(found, list) else [found]
    monkeypatch.setenv("SSL_CERT_FILE", str(servers[0].certificate))
    for server in servers:
        server.command("FLUSHALL")
    return servers


@pytest.fixture
def cache(servers: list[RedisServer]) -> Iterator[RedisCache]:
    with closing(connected(servers[0].url, wait_seconds=60)) as connection:
        yield RedisCache(connection)


def keys(servers: list[RedisServer]) -> list[str]:
    return [key for server in servers for key in server.keys("pegasus:cache:*")]


def test_what_is_put_is_had_again_by_all(cache: RedisCache, servers: list[RedisServer]) -> None:
    for number in range(20):
        cache.put(f"name {number}", bytes([number]) * 10, 60)
    assert cache.get("name 20") is None
    with closing(connected(servers[-1].url, wait_seconds=60)) as connection:
        other = RedisCache(connection)
        assert [other.get(f"name {number}") for number in range(20)] == [bytes([number]) * 10 for number in range(20)]
        other.put("name 0", b"", 60)
    assert cache.get("name 0") == b""


def test_it_is_kept_for_a_while(cache: RedisCache, servers: list[RedisServer]) -> None:
    cache.put("name", b"value", 3_600)
    left = [int(server.command("PTTL", "pegasus:cache:{name}").strip(":")) for server in servers if keys([server])]
    assert len(left) == 1
    assert 3_500_000 < left[0] <= 3_600_000


# --- Questions


class CountingEmbedder(HashEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        return super().embed(texts)


def test_a_question_is_embedded_once_for_all_processes(cache: RedisCache) -> None:
    embedders = CountingEmbedder(), CountingEmbedder()
    workspace = new_id()
    vectors = [Questions(embedder, cache).vector(workspace, QUESTION) for embedder in embedders for _ in range(3)]
    assert [len(embedder.asked) for embedder in embedders] == [1, 0]
    wanted = HashEmbedder().embed([QUESTION])[0]
    assert all((vector == wanted).all() and vector.dtype == np.float32 for vector in vectors)


def test_without_a_cache_it_is_embedded_each_time() -> None:
    embedder = CountingEmbedder()
    for _ in range(2):
        Questions(embedder).vector(new_id(), QUESTION)
    assert len(embedder.asked) == 2


def test_workspaces_and_models_and_other_questions_have_their_own(cache: RedisCache) -> None:
    embedder, workspace = CountingEmbedder(), new_id()
    other_model = CountingEmbedder()
    other_model.name = "another@2"
    Questions(embedder, cache).vector(workspace, QUESTION)
    Questions(embedder, cache).vector(new_id(), QUESTION)
    Questions(embedder, cache).vector(workspace, QUESTION + "?")
    Questions(other_model, cache).vector(workspace, QUESTION)
    assert (len(embedder.asked), len(other_model.asked)) == (3, 1)


def test_nothing_in_it_tells_of_a_question(cache: RedisCache, servers: list[RedisServer]) -> None:
    """Which is why an erasure need not look for it there."""
    workspaces = new_id(), new_id()
    for workspace in workspaces:
        Questions(HashEmbedder(), cache).vector(workspace, QUESTION)
    found = keys(servers)
    assert len(found) == 2
    assert not any(word in key for key in found for word in (*workspaces, "Pedro", "hash"))
    kept = [np.frombuffer(value, "<f4") for key in found if (value := cache.get(key[15:-1])) is not None]
    plain = HashEmbedder().embed([QUESTION])[0]
    assert len(kept) == 2
    with np.errstate(all="ignore"):
        for covered in kept:
            assert np.mean(covered == plain) < 0.1
        assert np.mean(kept[0] == kept[1]) < 0.1


@pytest.mark.parametrize("harm", [b"", b"x", bytes(4 * HashEmbedder.dimensions), b"\xff" * 4 * HashEmbedder.dimensions],
                         ids=["empty", "short", "zeros", "ones"])  # fmt: skip
def test_what_is_no_vector_is_embedded_again_and_put_right(
    cache: RedisCache, servers: list[RedisServer], harm: bytes
) -> None:
    embedder, workspace = CountingEmbedder(), new_id()
    questions = Questions(embedder, cache)
    questions.vector(workspace, QUESTION)
    (key,) = keys(servers)
    cache.put(key[15:-1], harm, 60)
    assert (questions.vector(workspace, QUESTION) == HashEmbedder().embed([QUESTION])[0]).all()
    questions.vector(workspace, QUESTION)
    assert len(embedder.asked) == 2


def test_a_cache_that_is_away_has_nothing_and_takes_nothing() -> None:
    with closing(connected("redis://127.0.0.1:1")) as connection:
        embedder = CountingEmbedder()
        for _ in range(2):
            Questions(embedder, RedisCache(connection)).vector(new_id(), QUESTION)
        assert len(embedder.asked) == 2
