"""The contract of ``GraphStore``, kept by every adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from neptune import watched
from servers import PASSWORD, BoltServer

from pegasus.adapters import bolt as bolt_adapter
from pegasus.adapters import ladybug
from pegasus.adapters.bolt import BoltGraphStore
from pegasus.adapters.ladybug import LadybugGraphStore
from pegasus.domain import Entity
from pegasus.identifiers import new_id
from pegasus.ports import GraphContents, GraphPassage, GraphStore

WAIT_SECONDS = 60
LABELS = ("Document", "Passage", "Entity")


@pytest.fixture(autouse=True, scope="module")
def on_neptune() -> Iterator[None]:
    """Whatever the contract asks for, Neptune has to understand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bolt_adapter._Transaction, "stream", watched(bolt_adapter._Transaction.stream))
        yield


def opened_over_bolt(server: BoltServer) -> BoltGraphStore:
    """A store on a new, empty database."""
    return BoltGraphStore(server.address, ("root", PASSWORD), database=server.new_database())


@pytest.fixture(scope="module", params=["ladybug", "bolt"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphStore]:
    if request.param == "bolt":
        opened: GraphStore = opened_over_bolt(request.getfixturevalue("bolt"))
    else:
        opened = LadybugGraphStore(tmp_path_factory.mktemp("graph") / "graph.ladybug")
    yield opened
    opened.close()


class Workspace:
    """A workspace of a test's own; names in tests are short, ids in the store are unique across workspaces."""

    def __init__(self, store: GraphStore) -> None:
        self.id, self.store = new_id(), store

    def __call__(self, name: str) -> str:
        return f"{self.id}/{name}"

    def all(self, names: Sequence[str]) -> list[str]:
        return [self(name) for name in names]

    def short(self, ids: Sequence[str]) -> list[str]:
        return [id_.removeprefix(f"{self.id}/") for id_ in ids]

    def entities(self, names: Sequence[str]) -> list[Entity]:
        return [Entity(self(name), name.title(), "name") for name in names]

    def add(self, passages: dict[str, Sequence[str]], document: str = "d") -> None:
        """Passages of one document, each with the entities that it mentions."""
        self.store.upsert_documents(self.id, {self(document): "Title"})
        mentioned = dict.fromkeys(name for names in passages.values() for name in names)
        self.store.upsert_passages(
            self.id,
            self.entities(list(mentioned)),
            [GraphPassage(self(name), self(document), self.all(names)) for name, names in passages.items()],
        )

    def nodes(self, label: str) -> list[str]:
        return sorted(self.short(list(self.store.node_ids(self.id, label))))

    def mentioning(self, *names: str, limit: int = 10) -> list[tuple[str, int]]:
        return [(self.short([id_])[0], n) for id_, n in self.store.mentioning(self.id, self.all(names), limit)]

    def co_mentioned(self, *names: str, limit: int = 10) -> list[tuple[str, int]]:
        found = self.store.co_mentioned(self.id, self.all(names), limit)
        return [(self.short([neighbour.entity.id])[0], neighbour.passages) for neighbour in found]

    def link(self, **links: Sequence[str]) -> None:
        self.store.set_links(self.id, {self(source): self.all(targets) for source, targets in links.items()})

    def linked(self, *names: str) -> list[tuple[str, str]]:
        found = self.store.linked(self.id, self.all(names))
        return sorted((self.short([source])[0], self.short([target])[0]) for source, target in found)

    def documents(self, *names: str) -> None:
        self.store.upsert_documents(self.id, {self(name): name for name in names})


@pytest.fixture
def workspace(store: GraphStore) -> Workspace:
    return Workspace(store)


# --- Passages and entities ----------------------------------------------------------------------------------------


def test_passages_are_found_by_what_they_mention_most_first(workspace: Workspace) -> None:
    workspace.add({"one": ["ada"], "both": ["ada", "bob"], "none": []})
    assert workspace.mentioning("ada", "bob") == [("both", 2), ("one", 1)]
    assert workspace.mentioning("bob") == [("both", 1)]
    assert workspace.mentioning("ada", "bob", limit=1) == [("both", 2)]
    assert workspace.mentioning("unknown") == []


def test_neighbours_are_the_entities_of_most_shared_passages(workspace: Workspace) -> None:
    workspace.add({"p1": ["ada", "bob"], "p2": ["ada", "bob", "cyd"], "p3": ["dan"], "p4": ["cyd", "eve"]})
    assert workspace.co_mentioned("ada") == [("bob", 2), ("cyd", 1)]
    assert workspace.co_mentioned("ada", limit=1) == [("bob", 2)]
    assert dict(workspace.co_mentioned("ada", "cyd")) == {"bob": 2, "eve": 1}
    assert workspace.co_mentioned("dan") == []
    assert workspace.co_mentioned("unknown") == []


def test_a_neighbour_comes_with_its_name_and_kind(workspace: Workspace) -> None:
    workspace.add({"p": ["ada", "bob"]})
    (neighbour,) = workspace.store.co_mentioned(workspace.id, [workspace("ada")], 10)
    assert neighbour.entity == Entity(workspace("bob"), "Bob", "name")


def test_the_same_passages_again_change_nothing(workspace: Workspace) -> None:
    for _ in range(3):
        workspace.add({"p1": ["ada", "bob"], "p2": ["ada"], "p3": []})
    assert workspace.nodes("Passage") == ["p1", "p2", "p3"]
    assert workspace.nodes("Entity") == ["ada", "bob"]
    assert workspace.nodes("Document") == ["d"]
    assert workspace.mentioning("ada") == [("p1", 1), ("p2", 1)]
    assert workspace.co_mentioned("ada") == [("bob", 1)]


def test_a_passage_that_mentions_something_else_now_forgets_the_former(workspace: Workspace) -> None:
    workspace.add({"p": ["ada"]})
    workspace.add({"p": ["bob"]})
    assert workspace.mentioning("ada") == []
    assert workspace.mentioning("bob") == [("p", 1)]


def test_an_entity_that_exists_is_left_alone(workspace: Workspace) -> None:
    workspace.add({"p1": ["ada", "bob"]})
    changed = [Entity(workspace("bob"), "Robert", "phrase")]
    workspace.store.upsert_passages(workspace.id, changed, [GraphPassage(workspace("p2"), workspace("d"), [])])
    (neighbour,) = workspace.store.co_mentioned(workspace.id, [workspace("ada")], 10)
    assert neighbour.entity.name == "Bob"


def test_passages_that_mention_nothing_are_nodes_too(workspace: Workspace) -> None:
    workspace.add({"p1": [], "p2": []})
    assert workspace.nodes("Passage") == ["p1", "p2"]


def test_no_passages_are_no_work(workspace: Workspace) -> None:
    workspace.store.upsert_passages(workspace.id, [], [])
    workspace.store.upsert_passages(workspace.id, workspace.entities(["ada"]), [])
    assert workspace.nodes("Passage") == []


def test_empty_lists_find_nothing_and_change_nothing(workspace: Workspace) -> None:
    workspace.add({"p": ["ada"]})
    workspace.store.upsert_documents(workspace.id, {})
    workspace.store.set_links(workspace.id, {})
    workspace.store.delete_passages(workspace.id, [])
    workspace.store.delete_entities(workspace.id, [])
    workspace.store.delete_documents(workspace.id, [])
    assert list(workspace.store.co_mentioned(workspace.id, [], 10)) == []
    assert list(workspace.store.mentioning(workspace.id, [], 10)) == []
    assert list(workspace.store.linked(workspace.id, [])) == []
    assert [workspace.nodes(label) for label in LABELS] == [["d"], ["p"], ["ada"]]


def test_a_hub_that_everything_mentions_still_answers(workspace: Workspace) -> None:
    for first in range(0, 2_500, 500):
        workspace.add({f"p{first + n:04}": ["hub", f"e{n % 10}"] for n in range(500)})
    passages = workspace.mentioning("hub", limit=3_000)  # The store may take a part of them, not a wrong one.
    assert 100 <= len({name for name, entities in passages if entities == 1}) == len(passages) <= 2_500
    assert sorted(name for name, _ in workspace.co_mentioned("hub", limit=20)) == [f"e{n}" for n in range(10)]
    assert workspace.co_mentioned("e3") == [("hub", 250)]


@pytest.mark.parametrize("odd", ["", 'O\'Brien "Bob" \\ {x} $y `z`\n', "東京 🗼 e\u0301", "x" * 5_000])
def test_titles_and_names_may_be_any_text(workspace: Workspace, odd: str) -> None:
    entities = [Entity(workspace("odd"), odd, "name"), Entity(workspace("ada"), "Ada", "name")]
    workspace.store.upsert_documents(workspace.id, {workspace("d"): odd})
    passage = GraphPassage(workspace("p"), workspace("d"), workspace.all(["odd", "ada"]))
    workspace.store.upsert_passages(workspace.id, entities, [passage])
    (neighbour,) = workspace.store.co_mentioned(workspace.id, [workspace("ada")], 10)
    assert neighbour.entity.name == odd


# --- Deleting -----------------------------------------------------------------------------------------------------


def test_deleted_nodes_take_their_edges_along(workspace: Workspace) -> None:
    workspace.add({"p1": ["ada", "bob"], "p2": ["ada", "bob"]})
    for _ in range(2):
        workspace.store.delete_passages(workspace.id, [workspace("p1")])
    assert workspace.nodes("Passage") == ["p2"]
    assert workspace.co_mentioned("ada") == [("bob", 1)]
    for _ in range(2):
        workspace.store.delete_entities(workspace.id, [workspace("bob")])
    assert workspace.nodes("Entity") == ["ada"]
    assert workspace.co_mentioned("ada") == []


def test_unknown_nodes_are_passed_over_among_known_ones(workspace: Workspace) -> None:
    workspace.add({"p1": ["ada"], "p2": []})
    workspace.store.delete_passages(workspace.id, workspace.all(["unknown", "p2"]))
    workspace.store.delete_entities(workspace.id, workspace.all(["unknown"]))
    workspace.store.delete_documents(workspace.id, workspace.all(["unknown"]))
    assert [workspace.nodes(label) for label in LABELS] == [["d"], ["p1"], ["ada"]]


def test_what_was_deleted_can_be_made_again(workspace: Workspace) -> None:
    for _ in range(3):
        workspace.add({"p": ["ada"]})
        assert workspace.mentioning("ada") == [("p", 1)]
        workspace.store.delete_passages(workspace.id, [workspace("p")])
        workspace.store.delete_entities(workspace.id, [workspace("ada")])
        workspace.store.delete_documents(workspace.id, [workspace("d")])
        assert [workspace.nodes(label) for label in LABELS] == [[], [], []]


def test_thousands_of_nodes_go_in_one_call(workspace: Workspace) -> None:
    names = [f"p{n}" for n in range(3_000)]
    workspace.add({name: [] for name in names})
    workspace.store.delete_passages(workspace.id, workspace.all(names[1:]))
    assert workspace.nodes("Passage") == ["p0"]


# --- Links --------------------------------------------------------------------------------------------------------


def test_links_are_seen_from_both_ends(workspace: Workspace) -> None:
    workspace.documents("a", "b", "c")
    workspace.link(a=["b"], c=["b", "a"])
    assert workspace.linked("a") == [("a", "b"), ("c", "a")]
    assert workspace.linked("b") == [("a", "b"), ("c", "b")]
    assert workspace.linked("a", "b", "c") == [("a", "b"), ("c", "a"), ("c", "b")]
    assert workspace.linked("unknown") == []


def test_links_are_replaced_for_the_named_sources_only(workspace: Workspace) -> None:
    workspace.documents("a", "b", "c")
    workspace.link(a=["b"], b=["c"])
    for _ in range(2):
        workspace.link(a=["c"])
    assert workspace.linked("a", "b", "c") == [("a", "c"), ("b", "c")]
    workspace.link(a=[])
    assert workspace.linked("a", "b", "c") == [("b", "c")]


def test_links_from_and_to_documents_without_a_node_are_passed_over(workspace: Workspace) -> None:
    workspace.documents("a", "b")
    workspace.link(a=["unknown", "b"], nobody=["a"])
    assert workspace.linked("a", "b", "unknown", "nobody") == [("a", "b")]
    assert workspace.nodes("Document") == ["a", "b"]


def test_a_document_stored_again_keeps_its_links_and_passages(workspace: Workspace) -> None:
    workspace.add({"p": ["ada"]}, document="a")
    workspace.documents("b")
    workspace.link(a=["b"], b=["a"])
    workspace.documents("a", "b")
    assert workspace.linked("a") == [("a", "b"), ("b", "a")]
    assert workspace.mentioning("ada") == [("p", 1)]


def test_a_deleted_document_takes_its_links_along(workspace: Workspace) -> None:
    workspace.documents("a", "b", "c")
    workspace.link(a=["b"], b=["c"], c=["a"])
    workspace.store.delete_documents(workspace.id, [workspace("b")])
    assert workspace.linked("a", "b", "c") == [("c", "a")]


# --- Workspaces, threads, files -----------------------------------------------------------------------------------


def test_no_read_crosses_a_workspace(store: GraphStore) -> None:
    mine, theirs = Workspace(store), Workspace(store)
    for workspace in (mine, theirs):
        workspace.add({"p": ["ada", "bob"]})
        workspace.documents("d", "e")
        workspace.link(d=["e"])
    assert list(store.mentioning(mine.id, [theirs("ada")], 10)) == []
    assert list(store.co_mentioned(mine.id, [theirs("ada")], 10)) == []
    assert list(store.linked(mine.id, [theirs("d")])) == []
    assert [mine.nodes(label) for label in LABELS] == [["d", "e"], ["p"], ["ada", "bob"]]


def test_no_write_crosses_a_workspace(store: GraphStore) -> None:
    mine, theirs = Workspace(store), Workspace(store)
    theirs.add({"p": ["ada", "bob"]})
    theirs.documents("d", "e")
    theirs.link(d=["e"])
    store.delete_passages(mine.id, [theirs("p")])
    store.delete_entities(mine.id, [theirs("ada")])
    store.delete_documents(mine.id, [theirs("d")])
    store.set_links(mine.id, {theirs("d"): []})
    mine.documents("d")
    store.set_links(mine.id, {mine("d"): [theirs("e")]})
    store.upsert_documents(mine.id, {theirs("d"): "Forged"})
    store.upsert_passages(mine.id, [Entity(theirs("ada"), "Forged", "name")], [])
    assert not [fact for fact in facts(theirs) if "Forged" in fact]
    assert theirs.linked("d", "e") == [("d", "e")]
    assert theirs.co_mentioned("ada") == [("bob", 1)]
    assert mine.linked("d") == []


def test_a_passage_cannot_mention_another_workspaces_entity(store: GraphStore) -> None:
    mine, theirs = Workspace(store), Workspace(store)
    theirs.add({"p": ["ada"]})
    mine.documents("d")
    store.upsert_passages(mine.id, [], [GraphPassage(mine("p"), mine("d"), [theirs("ada")])])
    assert theirs.mentioning("ada") == [("p", 1)]


def test_four_threads_write_while_others_read(workspace: Workspace) -> None:
    def write(thread: int) -> None:
        for n in range(8):
            workspace.add({f"p{thread}-{n}": ["shared", f"e{thread}"]}, document=f"d{thread}")
            workspace.link(**{f"d{thread}": [f"d{(thread + 1) % 4}"]})
            workspace.mentioning("shared")

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(write, thread) for thread in range(4)]:
            future.result(WAIT_SECONDS)
    assert len(workspace.mentioning("shared", limit=100)) == 32
    assert workspace.nodes("Entity") == ["e0", "e1", "e2", "e3", "shared"]
    assert dict(workspace.co_mentioned("shared")) == dict.fromkeys(["e0", "e1", "e2", "e3"], 8)


def test_the_graph_outlives_the_process_that_stored_it(tmp_path: Path) -> None:
    first = LadybugGraphStore(tmp_path / "graph.ladybug")
    workspace = Workspace(first)
    workspace.add({"p": ["ada"]})
    first.close()
    workspace.store = LadybugGraphStore(tmp_path / "graph.ladybug")
    assert workspace.mentioning("ada") == [("p", 1)]
    workspace.store.ping()
    workspace.store.close()


# --- The whole of it ----------------------------------------------------------------------------------------------


def facts(workspace: Workspace, document: str | None = None) -> list[tuple[str, ...]]:
    document_id = workspace(document) if document else None
    return sorted(tuple(workspace.short(fact)) for fact in workspace.store.facts(workspace.id, document_id))


def test_facts_tell_all_that_is_there_of_documents(store: GraphStore, workspace: Workspace) -> None:
    workspace.add({"p1": ["ada", "bob"], "p2": []})
    workspace.add({"q": ["ada"]}, document="e")
    workspace.link(d=["e"])
    Workspace(store).add({"other": ["ada"]})
    of_e = [("e", "mention", "q", "ada"), ("e", "passage", "q"), ("e", "title", "Title")]
    assert facts(workspace) == [
        ("", "entity", "ada", "Ada", "name"),
        ("", "entity", "bob", "Bob", "name"),
        ("d", "link", "e"),
        ("d", "mention", "p1", "ada"),
        ("d", "mention", "p1", "bob"),
        ("d", "passage", "p1"),
        ("d", "passage", "p2"),
        ("d", "title", "Title"),
        *of_e,
    ]
    assert facts(workspace, "e") == of_e
    assert facts(workspace, "unknown") == []


@pytest.fixture
def own_file(tmp_path: Path) -> Iterator[LadybugGraphStore]:
    (tmp_path / "own").mkdir()
    opened = LadybugGraphStore(tmp_path / "own" / "graph.ladybug")
    yield opened
    opened.close()


@pytest.fixture(params=["ladybug", "bolt"])
def own_store(request: pytest.FixtureRequest) -> Iterator[GraphStore]:
    """For the tests that replace all that a store has."""
    if request.param == "ladybug":
        yield request.getfixturevalue("own_file")
    else:
        opened = opened_over_bolt(request.getfixturevalue("bolt"))
        yield opened
        opened.close()


def bytes_below(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(directory.rglob("*")) if file.is_file())


AWKWARD = "a \"quoted\", name\nwith, commas; \\ and 'line' breaks — naïve"


def contents(w: str) -> GraphContents:
    return GraphContents(
        documents=[("d", w, AWKWARD), ("e", w, "")],
        passages=[("p", w), ("q", w)],
        entities=[("ada", w, AWKWARD, "name")],
        contains=[("d", "p"), ("e", "q")],
        mentions=[("p", "ada")],
        links=[("d", "e")],
    )


def test_a_rebuilt_graph_has_the_new_contents_and_nothing_of_the_old(own_store: GraphStore) -> None:
    workspace = Workspace(own_store)
    workspace.add({f"old-passage-{n}": [f"old-entity-{n}"] for n in range(50)}, document="old-document")
    own_store.delete_passages(workspace.id, [workspace("old-passage-1")])
    own_store.rebuild(contents(workspace.id))
    assert sorted(own_store.facts(workspace.id)) == [
        ("", "entity", "ada", AWKWARD, "name"),
        ("d", "link", "e"),
        ("d", "mention", "p", "ada"),
        ("d", "passage", "p"),
        ("d", "title", AWKWARD),
        ("e", "passage", "q"),
        ("e", "title", ""),
    ]
    workspace.add({"after": ["eve"]}, document="f")
    assert workspace.mentioning("eve") == [("after", 1)]
    assert own_store.mentioning(workspace.id, ["ada"], 10) == [("p", 1)]


def test_a_graph_in_a_file_is_rebuilt_without_a_byte_of_the_old(own_file: LadybugGraphStore, tmp_path: Path) -> None:
    assert own_file.purges
    workspace = Workspace(own_file)
    workspace.add({f"old-passage-{n}": [f"old-entity-{n}"] for n in range(50)}, document="old-document")
    own_file.delete_passages(workspace.id, [workspace("old-passage-1")])
    own_file.rebuild(contents(workspace.id))
    own_file.close()
    assert b"old-" not in bytes_below(tmp_path / "own")
    again = LadybugGraphStore(tmp_path / "own" / "graph.ladybug")
    assert ("d", "passage", "p") in list(again.facts(workspace.id))
    again.close()
    own_file._open()  # For the fixture, which closes it.


def test_a_graph_larger_than_the_buffers_is_rebuilt_and_read_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine holds the result of a query in its buffers, and what a COPY brings in."""
    monkeypatch.setattr(ladybug, "_BUFFER_BYTES", 40 * 2**20)
    passages, each = 20_000, 20
    opened = LadybugGraphStore(tmp_path / "graph.ladybug")
    opened.rebuild(
        GraphContents(
            documents=((f"document-{n:036}", "w", f"Title {n}") for n in range(passages)),
            passages=((f"passage-{n:036}", "w") for n in range(passages)),
            entities=((f"entity-{n:036}", "w", f"Name {n}", "name") for n in range(1_000)),
            contains=((f"document-{n:036}", f"passage-{n:036}") for n in range(passages)),
            mentions=(
                (f"passage-{n:036}", f"entity-{(n + m) % 1_000:036}") for n in range(passages) for m in range(each)
            ),
            links=(),
        )
    )
    kinds = Counter(fact[1] for fact in opened.facts("w"))
    assert kinds == {"entity": 1_000, "title": passages, "passage": passages, "mention": passages * each}
    assert len(set(opened.node_ids("w", "Passage"))) == passages
    opened.close()


def test_an_empty_graph_can_be_the_new_one(own_store: GraphStore) -> None:
    workspace = Workspace(own_store)
    workspace.add({"p": ["ada"]})
    assert own_store.holds_anything()
    own_store.rebuild(GraphContents((), (), (), (), (), ()))
    assert not own_store.holds_anything()
    assert facts(workspace) == []


def test_a_rebuild_that_fails_leaves_the_old_graph(own_store: GraphStore, tmp_path: Path) -> None:
    workspace = Workspace(own_store)
    workspace.add({"p": []})

    def passages() -> Iterator[tuple[str, str]]:
        yield "q", workspace.id
        raise InterruptedError

    with pytest.raises(InterruptedError):
        own_store.rebuild(GraphContents((), passages(), (), (), (), ()))
    assert workspace.nodes("Passage") == ["p"]
    assert [path.name for path in tmp_path.glob("own/*") if not path.name.startswith("graph.ladybug")] == []
    assert own_store.existing(workspace.id, "Passage", ["q"]) == set()


def test_a_rebuild_that_was_killed_at_any_point_does_not_stand_in_the_way_of_the_next(
    own_file: LadybugGraphStore, tmp_path: Path
) -> None:
    """The engine finishes a checkpoint that it finds begun, also that of a file which is gone."""
    for part in ("", ".wal", ".shadow", ".wal.checkpoint", ".checkpoint.intent.lock", ".checkpoint.apply.lock"):
        (tmp_path / "own" / f"graph.ladybug.new{part}").write_bytes(b"begun")
    own_file.rebuild(contents("w"))
    assert list(own_file.node_ids("w", "Entity")) == ["ada"]
    own_file.close()
    assert {file.name for file in (tmp_path / "own").iterdir()} == {"graph.ladybug"}
    own_file._open()  # For the fixture, which closes it.


@pytest.mark.parametrize("part", ["passages", "entities", "contains", "mentions", "links"])
def test_questions_are_answered_from_the_old_graph_until_the_new_one_is_complete(
    own_store: GraphStore, part: str
) -> None:
    workspace = Workspace(own_store)
    workspace.add({"p": ["ada"]})
    new = contents(workspace.id)

    def look() -> list[object]:
        return [facts(workspace), facts(workspace, "d"), *map(workspace.nodes, LABELS), workspace.mentioning("ada")]

    before, seen = look(), []

    def looking() -> Iterator[tuple[str, ...]]:
        for row in getattr(new, part):
            seen.append(look())
            yield row

    own_store.rebuild(replace(new, **{part: looking()}))
    assert seen
    assert all(look == before for look in seen)
    assert workspace.nodes("Passage") == ["p", "q"]


@pytest.mark.parametrize("moved", ["before", "between", "after"])
def test_an_exchange_that_was_cut_off_ends_with_one_whole_graph(tmp_path: Path, moved: str) -> None:
    """As a process leaves it that is killed before, between and after the two renames."""
    path, fresh = tmp_path / "graph.ladybug", tmp_path / "graph.ladybug.new"
    w = new_id()
    for file, name in ((path, "old"), (fresh, "new")):
        made = LadybugGraphStore(file)
        made.upsert_documents(w, {name: name})
        made.close()
    if moved != "before":
        path.rename(tmp_path / "graph.ladybug.old")
    if moved == "after":
        fresh.rename(path)
    opened = LadybugGraphStore(path)
    assert list(opened.node_ids(w, "Document")) == (["old"] if moved == "before" else ["new"])
    opened.close()
    assert {file.name for file in tmp_path.iterdir()} <= {"graph.ladybug", "graph.ladybug.wal"}
