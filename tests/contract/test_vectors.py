"""The contract of ``VectorStore``, kept by every adapter."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from servers import ChromaServer

from pegasus.adapters.chroma import ChromaVectorStore
from pegasus.adapters.chroma_server import ChromaServerVectorStore
from pegasus.identifiers import new_id
from pegasus.ports import Vector, Vectors, VectorStore

DIMENSIONS = 8
WAIT_SECONDS = 30


@pytest.fixture(scope="module", params=["chroma", "chroma server"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
    if request.param == "chroma":
        opened: VectorStore = ChromaVectorStore(tmp_path_factory.mktemp("vectors"))
    else:
        opened = ChromaServerVectorStore(request.getfixturevalue("chroma").url)
    yield opened
    opened.close()


@pytest.fixture
def workspace_id() -> str:
    return new_id()


def axis(n: int) -> Vector:
    return np.eye(DIMENSIONS, dtype=np.float32)[n]


def axes(*numbers: int) -> Vectors:
    return np.eye(DIMENSIONS, dtype=np.float32)[list(numbers)]


def at_cosine(cosine: float) -> Vector:
    """Of unit length, and so far from the first axis."""
    vector = axis(0) * cosine
    vector[1] = np.sqrt(1 - cosine**2)
    return vector


def random_vectors(count: int, seed: int = 1) -> Vectors:
    made = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def nearest(store: VectorStore, workspace_id: str, vector: Vector, limit: int = 10) -> list[str]:
    return [id_ for id_, _ in store.query(workspace_id, vector, limit)]


def held(store: VectorStore, workspace_id: str) -> list[str]:
    return [id_ for ids, _ in store.pages(workspace_id) for id_ in ids]


def test_the_nearest_comes_first_with_its_cosine(store: VectorStore, workspace_id: str) -> None:
    cosines = {"same": 1.0, "near": 0.8, "far": 0.1, "opposite": -1.0}
    store.upsert(workspace_id, list(cosines), np.stack([at_cosine(c) for c in cosines.values()]))
    found = store.query(workspace_id, axis(0), 10)
    assert [id_ for id_, _ in found] == list(cosines)
    assert [similarity for _, similarity in found] == pytest.approx(list(cosines.values()), abs=1e-3)


def test_the_limit_keeps_the_nearest_and_may_exceed_what_is_there(store: VectorStore, workspace_id: str) -> None:
    store.upsert(workspace_id, ["a", "b", "c"], np.stack([at_cosine(c) for c in (0.9, 0.5, 0.1)]))
    assert nearest(store, workspace_id, axis(0), 2) == ["a", "b"]
    assert nearest(store, workspace_id, axis(0), 1_000) == ["a", "b", "c"]


def test_the_same_upsert_again_changes_nothing(store: VectorStore, workspace_id: str) -> None:
    for _ in range(3):
        store.upsert(workspace_id, ["a", "b"], axes(0, 1))
    assert sorted(held(store, workspace_id)) == ["a", "b"]
    assert nearest(store, workspace_id, axis(1)) == ["b", "a"]


def test_an_upsert_of_another_vector_replaces_the_first(store: VectorStore, workspace_id: str) -> None:
    store.upsert(workspace_id, ["a", "b"], axes(0, 1))
    store.upsert(workspace_id, ["a"], axes(2))
    assert dict(store.query(workspace_id, axis(2), 10))["a"] == pytest.approx(1, abs=1e-3)
    assert dict(store.query(workspace_id, axis(0), 10))["a"] == pytest.approx(0, abs=1e-3)


def test_a_deleted_passage_is_gone_and_unknown_ones_are_passed_over(store: VectorStore, workspace_id: str) -> None:
    store.upsert(workspace_id, ["a", "b"], axes(0, 1))
    for _ in range(2):
        store.delete(workspace_id, ["a", "never there"])
    assert list(held(store, workspace_id)) == ["b"]
    assert nearest(store, workspace_id, axis(0)) == ["b"]
    store.upsert(workspace_id, ["a"], axes(0))
    assert nearest(store, workspace_id, axis(0)) == ["a", "b"]


def test_a_dropped_workspace_has_nothing_and_can_be_filled_again(store: VectorStore, workspace_id: str) -> None:
    other = new_id()
    for workspace in (workspace_id, other):
        store.upsert(workspace, ["a", "b"], axes(0, 1))
    for _ in range(2):
        store.drop(workspace_id)
    assert held(store, workspace_id) == []
    assert nearest(store, workspace_id, axis(0)) == []
    assert store.existing(workspace_id, ["a", "b"]) == set()
    store.delete(workspace_id, ["a"])
    assert sorted(held(store, other)) == ["a", "b"]
    store.upsert(workspace_id, ["c"], axes(2))
    assert held(store, workspace_id) == ["c"]


def test_looking_does_not_bring_back_what_was_dropped(
    own_store: ChromaVectorStore | ChromaServerVectorStore, workspace_id: str
) -> None:
    own_store.upsert(workspace_id, ["a"], axes(0))
    own_store.drop(workspace_id)
    own_store.query(workspace_id, axis(0), 1)
    own_store.existing(workspace_id, ["a"])
    own_store.delete(workspace_id, ["a"])
    assert list(own_store.pages(workspace_id)) == []
    assert collections(own_store) == []


def test_a_workspace_without_vectors_is_empty(store: VectorStore, workspace_id: str) -> None:
    store.delete(workspace_id, ["a"])
    assert list(held(store, workspace_id)) == []
    assert list(store.query(workspace_id, axis(0), 10)) == []


def test_empty_lists_do_nothing(store: VectorStore, workspace_id: str) -> None:
    store.upsert(workspace_id, ["a"], axes(0))
    store.upsert(workspace_id, [], np.empty((0, DIMENSIONS), np.float32))
    store.delete(workspace_id, [])
    assert list(held(store, workspace_id)) == ["a"]


def test_workspaces_never_see_each_other(store: VectorStore, workspace_id: str) -> None:
    """Even under one id: a passage of another workspace is neither found, replaced nor deleted."""
    other = new_id()
    store.upsert(workspace_id, ["a", "shared"], axes(0, 0))
    store.upsert(other, ["b", "shared"], axes(1, 1))
    assert sorted(nearest(store, workspace_id, axis(1))) == ["a", "shared"]
    assert dict(store.query(workspace_id, axis(0), 10))["shared"] == pytest.approx(1, abs=1e-3)
    store.delete(other, ["a", "shared"])
    assert sorted(held(store, workspace_id)) == ["a", "shared"]
    assert list(held(store, other)) == ["b"]


def test_a_large_document_goes_in_and_out_in_one_call(store: VectorStore, workspace_id: str) -> None:
    """A text of the largest size that is accepted has some 30,000 passages, and they are erased together."""
    ids = [f"p{n}" for n in range(6_000)]
    for first in range(0, 6_000, 1_000):
        store.upsert(workspace_id, ids[first : first + 1_000], random_vectors(1_000, seed=first))
    assert sorted(held(store, workspace_id)) == sorted(ids)
    store.delete(workspace_id, ids[1:])
    assert list(held(store, workspace_id)) == ids[:1]


def test_the_true_nearest_of_thousands_is_found(store: VectorStore, workspace_id: str) -> None:
    """The index may be approximate, but not so that what is asked for by its own vector is missed."""
    vectors = random_vectors(2_000)
    store.upsert(workspace_id, [f"p{n}" for n in range(2_000)], vectors)
    found = [nearest(store, workspace_id, vectors[n], 1) for n in range(0, 2_000, 100)]
    assert sum(hit == [f"p{n}"] for n, hit in zip(range(0, 2_000, 100), found, strict=True)) >= 19


def test_threads_write_and_read_at_once(store: VectorStore, workspace_id: str) -> None:
    def write(thread: int) -> None:
        for n in range(10):
            store.upsert(workspace_id, [f"{thread}-{n}"], random_vectors(1, seed=thread * 100 + n))
            store.query(workspace_id, axis(0), 5)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(write, thread) for thread in range(4)]:
            future.result(WAIT_SECONDS)
    assert sorted(held(store, workspace_id)) == sorted(f"{t}-{n}" for t in range(4) for n in range(10))


def test_vectors_outlive_the_process_that_stored_them(tmp_path: Path, workspace_id: str) -> None:
    first = ChromaVectorStore(tmp_path / "vectors")
    first.upsert(workspace_id, ["a", "b"], axes(0, 1))
    first.delete(workspace_id, ["b"])
    first.close()
    second = ChromaVectorStore(tmp_path / "vectors")
    assert list(held(second, workspace_id)) == ["a"]
    assert nearest(second, workspace_id, axis(0)) == ["a"]
    second.close()


def test_a_store_that_answers_says_so(store: VectorStore) -> None:
    store.ping()


def test_pages_have_the_embeddings_of_their_ids(store: VectorStore, workspace_id: str) -> None:
    vectors = random_vectors(20)
    store.upsert(workspace_id, [f"p{n}" for n in range(20)], vectors)
    for ids, embeddings in store.pages(workspace_id):
        np.testing.assert_allclose(embeddings, [vectors[int(id_[1:])] for id_ in ids], atol=1e-6)


def test_existing_tells_which_are_there(store: VectorStore, workspace_id: str) -> None:
    store.upsert(workspace_id, ["a", "b"], axes(0, 1))
    assert store.existing(workspace_id, ["b", "c"]) == {"b"}
    assert store.existing(new_id(), ["b"]) == set()


@pytest.fixture
def own_directory(tmp_path: Path) -> Iterator[ChromaVectorStore]:
    opened = ChromaVectorStore(tmp_path / "own" / "vectors")
    yield opened
    opened.close()


@pytest.fixture(params=["chroma", "chroma server"])
def own_store(request: pytest.FixtureRequest) -> Iterator[ChromaVectorStore | ChromaServerVectorStore]:
    """For the tests that replace all that a store has."""
    if request.param == "chroma":
        yield request.getfixturevalue("own_directory")
    else:
        opened = ChromaServerVectorStore(request.getfixturevalue("chroma").url, new_id())
        yield opened
        opened.close()


def collections(store: ChromaVectorStore | ChromaServerVectorStore) -> list[str]:
    if isinstance(store, ChromaVectorStore):
        return [found.name for found in store._client.list_collections()]
    names = [found["name"] for found in store._call("GET", store._place, read=list)]
    return [name for name in names if name != "pegasus"]


def bytes_below(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(directory.rglob("*")) if file.is_file())


def test_databases_of_one_server_know_nothing_of_each_other(chroma: ChromaServer, workspace_id: str) -> None:
    stores = [ChromaServerVectorStore(chroma.url, database) for database in (new_id(), new_id(), None)]
    assert not stores[0].holds_anything()  # Its database is not there yet.
    for number, store in enumerate(stores):
        store.upsert(workspace_id, [str(number)], axes(number))
    stores[0].rebuild([(workspace_id, ["new"], axes(0))])
    assert [held(store, workspace_id) for store in stores] == [["new"], ["1"], ["2"]]
    stores[1].drop(workspace_id)
    assert [held(store, workspace_id) for store in stores] == [["new"], [], ["2"]]
    for store in stores:
        store.close()


def test_a_rebuilt_store_has_the_new_contents_and_nothing_of_the_old(own_store: VectorStore, workspace_id: str) -> None:
    other = new_id()
    old_ids = [f"old-{n:04}" for n in range(300)]
    assert not own_store.holds_anything()
    own_store.upsert(workspace_id, old_ids, random_vectors(300))
    own_store.upsert(other, ["kept"], axes(2))
    own_store.delete(workspace_id, old_ids[:10])
    assert own_store.holds_anything()
    own_store.rebuild([(other, ["kept"], axes(2)), (workspace_id, ["a"], axes(0)), (workspace_id, ["b"], axes(1))])
    assert nearest(own_store, workspace_id, axis(0)) == ["a", "b"]
    assert held(own_store, other) == ["kept"]
    own_store.upsert(workspace_id, ["c"], axes(3))
    assert own_store.existing(workspace_id, ["a", "b", "c", *old_ids]) == {"a", "b", "c"}
    own_store.rebuild([(other, ["kept"], axes(2))])
    assert held(own_store, workspace_id) == []
    assert held(own_store, other) == ["kept"]


def test_a_directory_is_rebuilt_without_a_byte_of_the_old(
    own_directory: ChromaVectorStore, workspace_id: str, tmp_path: Path
) -> None:
    assert own_directory.purges
    old_ids = [f"old-{n:04}" for n in range(300)]
    own_directory.upsert(workspace_id, old_ids, random_vectors(300))
    own_directory.delete(workspace_id, old_ids[:10])
    own_directory.rebuild([(workspace_id, ["a"], axes(0)), (workspace_id, ["b"], axes(1))])
    own_directory.upsert(workspace_id, ["c"], axes(3))
    assert own_directory.existing(workspace_id, ["a", "b", "c", *old_ids]) == {"a", "b", "c"}
    assert b"old-" not in bytes_below(tmp_path / "own")


def test_what_the_process_has_freed_gets_into_no_file(
    own_directory: ChromaVectorStore, store: VectorStore, workspace_id: str, tmp_path: Path
) -> None:
    for _ in range(6):
        store.upsert(workspace_id, [f"secret-{new_id()}" for _ in range(300)], random_vectors(300))
        own_directory.upsert(new_id(), ["a"], axes(0))
    assert b"secret-" not in bytes_below(tmp_path / "own")


def test_a_rebuild_that_fails_leaves_the_old_contents(own_store: VectorStore, workspace_id: str) -> None:
    own_store.upsert(workspace_id, ["a"], axes(0))

    def pages() -> Iterator[tuple[str, list[str], Vectors]]:
        yield workspace_id, ["b"], axes(1)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        own_store.rebuild(pages())
    assert held(own_store, workspace_id) == ["a"]


def test_queries_are_answered_while_a_store_is_rebuilt(own_store: VectorStore, workspace_id: str) -> None:
    own_store.upsert(workspace_id, ["a"], axes(0))
    seen: list[list[str]] = []

    def pages() -> Iterator[tuple[str, list[str], Vectors]]:
        for n in range(3):
            yield workspace_id, [f"n{n}"], axes(n)
            seen.append(nearest(own_store, workspace_id, axis(0), 1))

    own_store.rebuild(pages())
    assert seen == [["a"]] * 3
    assert nearest(own_store, workspace_id, axis(0), 1) == ["n0"]


@pytest.mark.parametrize("moved", ["before", "between", "after"])
def test_an_exchange_that_was_cut_off_ends_with_one_whole_store(workspace_id: str, tmp_path: Path, moved: str) -> None:
    """As a process leaves it that is killed before, between and after the two renames."""
    directory, fresh = tmp_path / "vectors", tmp_path / "vectors.new"
    for path, name in ((directory, "old"), (fresh, "new")):
        made = ChromaVectorStore(path)
        made.upsert(workspace_id, [name], axes(0))
        made.close()
    if moved != "before":
        directory.rename(tmp_path / "vectors.old")
    if moved == "after":
        fresh.rename(directory)
    opened = ChromaVectorStore(directory)
    assert held(opened, workspace_id) == (["old"] if moved == "before" else ["new"])
    opened.close()
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]
