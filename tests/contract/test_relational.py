"""The contract of ``RelationalStore``, kept by every adapter."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pgbouncer import PgBouncer

from pegasus.access import service as access
from pegasus.adapters.postgres import PostgresRelationalStore
from pegasus.adapters.sqlite import SqliteRelationalStore
from pegasus.domain import Filters
from pegasus.errors import Invalid, Unavailable
from pegasus.identifiers import new_id
from pegasus.migrations import HEAD
from pegasus.ports import RelationalStore, Transaction
from pegasus.text.words import content_words

NOBODY = "00000000-0000-7000-8000-000000000000"
WAIT_SECONDS = 10
REUSED = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sqlite")
    store = SqliteRelationalStore(folder / "new.sqlite3")
    store.migrate(HEAD)
    with store.read() as tx:
        assert tx.one("SELECT 1 FROM workspaces") is None
    store.close()
    with closing(sqlite3.connect(folder / "new.sqlite3")) as connection:
        connection.execute("VACUUM INTO ?", (str(folder / "migrated.sqlite3"),))
    return folder / "migrated.sqlite3"


@pytest.fixture(params=["sqlite", "postgres", "pgbouncer"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RelationalStore]:
    """An empty store at the newest schema."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "test.sqlite3")
        opened: RelationalStore = SqliteRelationalStore(tmp_path / "test.sqlite3")
    elif request.param == "postgres":
        opened = PostgresRelationalStore(request.getfixturevalue("postgres_database"))
    else:
        bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
        name = urlsplit(request.getfixturevalue("postgres_database")).path[1:]
        opened = PostgresRelationalStore(bouncer.url(name))
    yield opened
    opened.close()


@pytest.fixture
def workspace_id(store: RelationalStore) -> str:
    return new_workspace(store)


def new_workspace(store: RelationalStore) -> str:
    with store.write() as tx:
        return access.create_workspace(tx, "test")


def add_workspace_row(tx: Transaction, name: str) -> None:
    tx.execute("INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, 0)", {"id": new_id(), "name": name})


def names(tx: Transaction) -> list[str]:
    return [row["name"] for row in tx.all("SELECT name FROM workspaces ORDER BY name")]


def stored_names(store: RelationalStore) -> list[str]:
    with store.read() as tx:
        return names(tx)


def store_passage(
    tx: Transaction, workspace_id: str, text: str, *, title: str = "", heading: str = "", tags: tuple[str, ...] = (),
    created_at: float = 0.0,
) -> str:  # fmt: skip
    """The rows of a document with one passage, which cannot be found by its words yet; the id of both."""
    row = {"id": new_id(), "w": workspace_id, "title": title, "heading": heading, "text": text, "at": created_at}
    tx.execute(
        "INSERT INTO documents (id, workspace_id, title, title_key, media_type, version, sha256, size_bytes, state,"
        " metadata, created_at, updated_at) VALUES (:id, :w, :title, :title, 'text/plain', 1, '', 0, 'ready', '{}',"
        " :at, :at)",
        {name: row[name] for name in ("id", "w", "title", "at")},
    )
    tx.execute_many(
        "INSERT INTO document_tags (document_id, workspace_id, tag) VALUES (:id, :w, :tag)",
        [{"id": row["id"], "w": workspace_id, "tag": tag} for tag in tags],
    )
    tx.execute(
        "INSERT INTO passages (id, workspace_id, document_id, version, start_offset, end_offset, title, heading, text,"
        " sha256, input_sha256, indexed) VALUES (:id, :w, :id, 1, 0, 0, :title, :heading, :text, '', '', 0)",
        {name: row[name] for name in ("id", "w", "title", "heading", "text")},
    )
    return str(row["id"])


def add_passage(store: RelationalStore, workspace_id: str, text: str, **more: object) -> str:
    """The same, findable."""
    with store.write() as tx:
        passage_id = store_passage(tx, workspace_id, text, **more)
        tx.index_words(workspace_id, [passage_id])
    return passage_id


def search(
    store: RelationalStore, workspace_id: str, *terms: str, limit: int = 10, filters: Filters = Filters()
) -> list[str]:
    with store.read() as tx:
        return [id_ for id_, _ in tx.search_words(workspace_id, terms, limit, filters)]


# --- Transactions -------------------------------------------------------------------------------------------------


def test_a_block_that_ends_is_committed(store: RelationalStore) -> None:
    with store.write() as tx:
        add_workspace_row(tx, "a")
        assert names(tx) == ["a"]
    assert stored_names(store) == ["a"]


def test_a_block_that_raises_leaves_nothing_and_the_store_usable(store: RelationalStore) -> None:
    with pytest.raises(KeyError), store.write() as tx:
        add_workspace_row(tx, "a")
        raise KeyError
    with store.write() as tx:
        add_workspace_row(tx, "b")
    assert stored_names(store) == ["b"]


def test_a_statement_that_the_store_refuses_takes_the_whole_block_back(store: RelationalStore) -> None:
    with pytest.raises(Unavailable), store.write() as tx:
        add_workspace_row(tx, "a")
        tx.execute("INSERT INTO no_such_table VALUES (1)")
    assert stored_names(store) == []


def test_rows_must_belong_to_rows_that_exist(store: RelationalStore) -> None:
    """Foreign keys hold: nothing can be stored below a workspace that is not there."""
    with pytest.raises(Exception, match=r"(?i)foreign key"), store.write() as tx:
        store_passage(tx, NOBODY, "text")
    with store.read() as tx:
        assert tx.all("SELECT 1 FROM documents") == []


def test_a_read_block_does_not_see_what_is_written_meanwhile(store: RelationalStore) -> None:
    with store.read() as tx:
        before = names(tx)
        with store.write() as writing:
            add_workspace_row(writing, "a")
        assert names(tx) == before == []
    assert stored_names(store) == ["a"]


def test_a_reader_neither_waits_for_a_long_writer_nor_sees_it(store: RelationalStore) -> None:
    with ThreadPoolExecutor(1) as pool, store.write() as tx:
        add_workspace_row(tx, "a")
        assert pool.submit(stored_names, store).result(WAIT_SECONDS) == []


def test_writers_wait_for_each_other_and_lose_no_update(store: RelationalStore) -> None:
    with store.write() as tx:
        add_workspace_row(tx, "0")

    def count() -> None:
        for _ in range(20):
            with store.write() as tx:
                (before,) = names(tx)
                tx.execute("UPDATE workspaces SET name = :n", {"n": str(int(before) + 1)})

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(count) for _ in range(4)]:
            future.result(60)
    assert stored_names(store) == ["80"]


def test_many_threads_can_read_at_once(store: RelationalStore) -> None:
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(lambda _: stored_names(store), range(200), timeout=WAIT_SECONDS)) == [[]] * 200


def test_execute_tells_how_many_rows_it_touched(store: RelationalStore) -> None:
    with store.write() as tx:
        add_workspace_row(tx, "a")
        add_workspace_row(tx, "b")
        assert tx.execute("UPDATE workspaces SET created_at = 1") == 2
        assert tx.execute("DELETE FROM workspaces WHERE name = :name", {"name": "c"}) == 0


def test_one_is_the_first_row_or_none(store: RelationalStore) -> None:
    with store.write() as tx:
        assert tx.one("SELECT name FROM workspaces") is None
        add_workspace_row(tx, "b")
        add_workspace_row(tx, "a")
        row = tx.one("SELECT name FROM workspaces ORDER BY name")
    assert row is not None
    assert row["name"] == "a"


def test_execute_many_takes_no_rows_too(store: RelationalStore) -> None:
    with store.write() as tx:
        tx.execute_many("DELETE FROM workspaces WHERE id = :id", [])
    store.ping()


@pytest.mark.parametrize("text", ["", "ß 🦄 \u0001\x7f", "'; --", "100 %s %(name)s :name $1 ?", '\\ "', "1", "Ａ"])
def test_a_text_comes_back_as_it_was_stored(store: RelationalStore, text: str) -> None:
    with store.write() as tx:
        add_workspace_row(tx, text)
        assert names(tx) == [text]
        assert tx.one("SELECT length(name) AS n FROM workspaces")["n"] == len(text)


def test_a_text_with_a_nul_character_is_refused(store: RelationalStore) -> None:
    with pytest.raises(Invalid, match="NUL"), store.write() as tx:
        add_workspace_row(tx, "a\0b")
    with pytest.raises(Invalid, match="NUL"), store.write() as tx:
        tx.execute_many("UPDATE workspaces SET name = :name", [{"name": "a"}, {"name": "\0"}])
    with pytest.raises(Invalid, match="NUL"), store.read() as tx:
        tx.one("SELECT 1 FROM workspaces WHERE name = :name", {"name": "\0"})


def test_values_come_back_as_whole_numbers_fractions_bytes_and_none(store: RelationalStore) -> None:
    with store.write() as tx:
        for n in range(3):
            job = {"id": new_id(), "w": new_id(), "payload": "x" * n, "big": 2**53 + n}
            tx.execute("INSERT INTO workspaces (id, name, created_at) VALUES (:w, 'a', 1)", {"w": job["w"]})
            tx.execute(
                "INSERT INTO documents (id, workspace_id, title, title_key, media_type, version, sha256, size_bytes,"
                " state, metadata, created_at, updated_at) VALUES (:id, :w, '', '', '', :true, '', :big, '', '', :n,"
                " 0.1)",
                {"id": job["id"], "w": job["w"], "true": True, "big": job["big"], "n": n},
            )
        row = tx.one(
            "SELECT sum(size_bytes) AS sum, max(version) AS truth, sum(created_at) AS times, min(updated_at) AS time,"
            " count(*) AS n, count(*) = 3 AS three, min(error) AS missing, max(length(title)) AS length FROM documents"
        )
    assert row is not None
    found = [row[name] for name in ("sum", "truth", "times", "time", "n", "three", "missing", "length")]
    assert found == [3 * 2**53 + 3, 1, 3.0, 0.1, 3, 1, None, 0]
    assert [type(value) for value in found] == [int, int, float, float, int, int, type(None), int]


def test_texts_are_in_the_order_of_their_code_points(store: RelationalStore) -> None:
    unordered = ["b", "a", "B", "Ä", "ä", "_", "10", "9", "", " ", "🦄", "\uffee", "a b", "a-b"]
    with store.write() as tx:
        for name in unordered:
            add_workspace_row(tx, name)
        assert names(tx) == sorted(unordered)
        assert tx.one("SELECT max(name) AS name FROM workspaces")["name"] == "🦄"
        rows = tx.all("SELECT name FROM workspaces WHERE name > :least ORDER BY name DESC", {"least": "a"})
        assert [row["name"] for row in rows] == sorted((name for name in unordered if name > "a"), reverse=True)


def test_like_takes_no_notice_of_the_case_of_ascii_letters(store: RelationalStore) -> None:
    with store.write() as tx:
        for name in ("Albatross", "ÄRGER", "100%", "100 kg", "a_b", "axb"):
            add_workspace_row(tx, name)

        def like(pattern: str) -> list[str]:
            sql = "SELECT name FROM workspaces WHERE name LIKE :pattern ESCAPE '\\' ORDER BY name"
            return [row["name"] for row in tx.all(sql, {"pattern": pattern})]

        assert like("%BAT%") == ["Albatross"]
        assert like("%ärger%") == []
        assert like("%\\%%") == ["100%"]
        assert like("a\\_b") == ["a_b"]
        assert [row["n"] for row in tx.all("SELECT lower(name) AS n FROM workspaces WHERE name = 'ÄRGER'")] == ["Ärger"]


def test_what_is_missing_may_be_compared_with(store: RelationalStore) -> None:
    """A filter that is not set: of NULL alone PostgreSQL could not tell what it would be."""
    sql = (
        "SELECT count(*) AS n FROM workspaces"
        " WHERE (:name IS NULL OR name = :name) AND (:at IS NULL OR created_at < :at)"
    )
    with store.write() as tx:
        add_workspace_row(tx, "a")
        for name, at, count in ((None, None, 1), ("a", None, 1), ("b", None, 0), (None, 1, 1), (None, -1.5, 0)):
            assert tx.one(sql, {"name": name, "at": at})["n"] == count


def test_a_row_that_is_there_already_may_be_left_changed_or_refused(store: RelationalStore) -> None:
    insert = "INSERT INTO workspaces (id, name, created_at) VALUES (:id, :name, 0)"
    with store.write() as tx:
        assert tx.execute(insert, {"id": "x", "name": "a"}) == 1
        assert tx.execute(f"{insert} ON CONFLICT (id) DO NOTHING", {"id": "x", "name": "b"}) == 0
        tx.execute(f"{insert} ON CONFLICT (id) DO UPDATE SET name = excluded.name", {"id": "x", "name": "c"})
        rows = tx.all("UPDATE workspaces SET name = name || '!' RETURNING id, name")
        assert [(row["id"], row["name"]) for row in rows] == [("x", "c!")]
    with pytest.raises(Exception, match=r"(?i)unique"), store.write() as tx:
        tx.execute(insert, {"id": "x", "name": "d"})
    assert stored_names(store) == ["c!"]


def test_results_that_are_read_one_by_one_may_be_read_side_by_side(store: RelationalStore) -> None:
    with store.write() as tx:
        for n in range(1_200):
            add_workspace_row(tx, f"{n:04}")
    with store.read() as tx:
        sql = "SELECT name FROM workspaces ORDER BY name"
        for one, other in zip(tx.each(sql), tx.each(f"{sql} DESC"), strict=True):
            assert int(one["name"]) + int(other["name"]) == 1_199
        for _ in tx.each(sql):
            break  # And left in the middle.
        assert len(names(tx)) == 1_200


# --- Words --------------------------------------------------------------------------------------------------------


def test_the_passage_with_more_of_the_words_comes_first(store: RelationalStore, workspace_id: str) -> None:
    rare = add_passage(store, workspace_id, "the albatross flies over the harbour")
    both = add_passage(store, workspace_id, "albatross and cormorant at sea")
    for n in range(5):
        add_passage(store, workspace_id, f"a ship in the harbour, number {n}")
    assert search(store, workspace_id, "albatross", "cormorant") == [both, rare]


def test_relevance_is_positive_and_falls(store: RelationalStore, workspace_id: str) -> None:
    for n in range(1, 6):
        add_passage(store, workspace_id, "albatross " * n + "sea " * (20 - n))
    for _ in range(20):
        add_passage(store, workspace_id, "nothing but sea")
    with store.read() as tx:
        scores = [score for _, score in tx.search_words(workspace_id, ["albatross"], 10, Filters())]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] > 0


def test_a_word_in_the_title_or_heading_is_found_and_counts_more(store: RelationalStore, workspace_id: str) -> None:
    in_text = add_passage(store, workspace_id, "cormorant", title="birds", heading="sea")
    in_title = add_passage(store, workspace_id, "birds", title="cormorant", heading="sea")
    in_heading = add_passage(store, workspace_id, "birds", title="sea", heading="cormorant")
    assert search(store, workspace_id, "cormorant") == [in_title, in_heading, in_text]


@pytest.mark.parametrize(("text", "term"), [
    ("It indexes documents", "indexing"),
    ("Indexing a document", "index"),
    ("CORMORANTS", "cormorant"),
    ("Café au lait", "cafe"),
    ("a cafe", "Café"),
])  # fmt: skip
def test_word_forms_case_and_accents_do_not_count(
    store: RelationalStore, workspace_id: str, text: str, term: str
) -> None:
    passage = add_passage(store, workspace_id, text)
    add_passage(store, workspace_id, "unrelated words")
    assert search(store, workspace_id, term) == [passage]


def test_a_term_of_several_words_is_a_phrase(store: RelationalStore, workspace_id: str) -> None:
    phrase = add_passage(store, workspace_id, "rename snake_case variables")
    add_passage(store, workspace_id, "a case for every snake")
    assert search(store, workspace_id, "snake_case") == [phrase]


def test_any_term_may_match_and_each_passage_comes_once(store: RelationalStore, workspace_id: str) -> None:
    ids = {add_passage(store, workspace_id, "red sails"), add_passage(store, workspace_id, "blue sails")}
    found = search(store, workspace_id, "red", "blue", "sails", "red", "green")
    assert len(found) == 2
    assert set(found) == ids


@pytest.mark.parametrize("term", [
    "C++", "C#", '"', '""', 'say "hello', "'", "''", "NEAR", "NEAR(a b, 2)", "AND", "OR", "NOT", "a AND b", "*", "sea*",
    "^sea", "title:sea", ":", "-", "-sea", "(", ")", "(sea", "{title heading}: sea", "+", "a + b", "--", ";", "%", "_",
    "\\", "", " ", "\n", "?", "@x", ":words", "$words",
])  # fmt: skip
def test_what_looks_like_query_syntax_is_only_words(store: RelationalStore, workspace_id: str, term: str) -> None:
    sea = add_passage(store, workspace_id, "the sea")
    search(store, workspace_id, term)
    assert search(store, workspace_id, term, "sea") == [sea]


def test_an_operator_is_found_as_the_word_that_it_is(store: RelationalStore, workspace_id: str) -> None:
    near = add_passage(store, workspace_id, "near the coast")
    add_passage(store, workspace_id, "far out")
    assert search(store, workspace_id, "NEAR") == [near]
    assert search(store, workspace_id, "title:far") == []


@REUSED
@example(["\0"])
@example(["sea\0sea"])
@given(st.lists(st.text(), max_size=6))
def test_no_terms_are_ever_an_error(store: RelationalStore, workspace_id: str, terms: list[str]) -> None:
    if not search(store, workspace_id, "sea"):
        add_passage(store, workspace_id, "the sea")
    assert len(search(store, workspace_id, *terms, "sea")) == 1


@pytest.mark.parametrize("text", [
    "Die lange Straße", "Οδός Αθηνών", "İstanbul'da", "re\u0301sume\u0301 writing", "the ﬁrst ﬂoor", "東京タワー",
    "м³ воды", "snake_case __init__ x_1", "don't", "Ⅷ kings", "naïve coöperation", "हिन्दी भाषा",
])  # fmt: skip
def test_each_word_that_a_query_is_cut_into_finds_the_text_that_it_stands_in(
    store: RelationalStore, workspace_id: str, text: str
) -> None:
    """``text.words`` promises to cut words as the index does; where it does not, a query misses its own text."""
    passage = add_passage(store, workspace_id, text)
    missed = [word for word in content_words(text, 32) if search(store, workspace_id, word) != [passage]]
    assert missed == []


def test_no_terms_no_limit_and_nothing_indexed_find_nothing(store: RelationalStore, workspace_id: str) -> None:
    assert search(store, workspace_id, "sea") == []
    add_passage(store, workspace_id, "sea")
    assert search(store, workspace_id) == []
    assert search(store, workspace_id, "sea", limit=0) == []


def test_the_limit_keeps_the_best(store: RelationalStore, workspace_id: str) -> None:
    for n in range(1, 9):
        add_passage(store, workspace_id, "albatross " * n + "sea " * (20 - n))
    everything = search(store, workspace_id, "albatross")
    assert len(everything) == 8
    assert search(store, workspace_id, "albatross", limit=3) == everything[:3]


def test_tags_filter_by_any_of_them(store: RelationalStore, workspace_id: str) -> None:
    red = add_passage(store, workspace_id, "sea", tags=("red",))
    blue = add_passage(store, workspace_id, "sea", tags=("blue", "deep"))
    add_passage(store, workspace_id, "sea")
    assert search(store, workspace_id, "sea", filters=Filters(tags=("red",))) == [red]
    assert set(search(store, workspace_id, "sea", filters=Filters(tags=("red", "deep", "?")))) == {red, blue}
    assert search(store, workspace_id, "sea", filters=Filters(tags=("'; --",))) == []


def test_times_filter_half_open(store: RelationalStore, workspace_id: str) -> None:
    one, two, three = (add_passage(store, workspace_id, "sea", created_at=at) for at in (1.0, 2.0, 3.0))
    assert set(search(store, workspace_id, "sea", filters=Filters(since=2.0))) == {two, three}
    assert set(search(store, workspace_id, "sea", filters=Filters(until=2.0))) == {one}
    assert set(search(store, workspace_id, "sea", filters=Filters(since=1.0, until=3.0))) == {one, two}
    assert search(store, workspace_id, "sea", filters=Filters(since=0.0, until=0.0)) == []


def test_a_filter_does_not_use_up_the_limit(store: RelationalStore, workspace_id: str) -> None:
    for _ in range(5):
        add_passage(store, workspace_id, "sea sea sea")
    tagged = add_passage(store, workspace_id, "sea and much more that makes it a worse match", tags=("kept",))
    assert search(store, workspace_id, "sea", limit=1, filters=Filters(tags=("kept",))) == [tagged]


def test_workspaces_never_see_each_other(store: RelationalStore, workspace_id: str) -> None:
    other = new_workspace(store)
    mine = add_passage(store, workspace_id, "sea", tags=("red",))
    theirs = add_passage(store, other, "sea", tags=("red",))
    for filters in (Filters(), Filters(tags=("red",)), Filters(since=0.0)):
        assert search(store, workspace_id, "sea", filters=filters) == [mine]
        assert search(store, other, "sea", filters=filters) == [theirs]


def test_what_others_store_does_not_change_a_relevance(store: RelationalStore, workspace_id: str) -> None:
    """Word statistics are a workspace's own: a score must not tell what other workspaces write about."""

    def scores() -> list[tuple[str, float]]:
        with store.read() as tx:
            return list(tx.search_words(workspace_id, ["sea", "red"], 10, Filters()))

    add_passage(store, workspace_id, "red sea")
    add_passage(store, workspace_id, "the deep sea")
    before, other = scores(), new_workspace(store)
    for _ in range(10):
        add_passage(store, other, "sea")
    assert scores() == before


def test_an_unindexed_passage_is_gone_and_the_others_stay(store: RelationalStore, workspace_id: str) -> None:
    gone, kept = add_passage(store, workspace_id, "sea"), add_passage(store, workspace_id, "sea")
    with store.write() as tx:
        tx.unindex_words(workspace_id, [gone])
        tx.execute("DELETE FROM passages WHERE id = :id", {"id": gone})
    assert search(store, workspace_id, "sea") == [kept]
    with store.write() as tx:
        tx.unindex_words(workspace_id, [kept])
        tx.index_words(workspace_id, [kept])
    assert search(store, workspace_id, "sea") == [kept]


def test_words_of_a_block_that_raised_are_not_found(store: RelationalStore, workspace_id: str) -> None:
    kept = add_passage(store, workspace_id, "sea")
    with pytest.raises(KeyError), store.write() as tx:
        tx.index_words(workspace_id, [store_passage(tx, workspace_id, "sea")])
        raise KeyError
    with pytest.raises(KeyError), store.write() as tx:
        tx.unindex_words(workspace_id, [kept])
        raise KeyError
    assert search(store, workspace_id, "sea") == [kept]


def test_no_passages_and_unknown_ones_are_passed_over(store: RelationalStore, workspace_id: str) -> None:
    with store.write() as tx:
        tx.unindex_words(workspace_id, [])
        tx.unindex_words(workspace_id, [NOBODY])
        tx.index_words(workspace_id, [])
        tx.index_words(workspace_id, [NOBODY])
    assert search(store, workspace_id, "sea") == []


def test_thousands_of_passages_are_indexed_in_one_call(store: RelationalStore, workspace_id: str) -> None:
    with store.write() as tx:
        ids = [store_passage(tx, workspace_id, f"sea {n}") for n in range(1_201)]
        tx.index_words(workspace_id, ids)
    assert set(search(store, workspace_id, "sea", limit=2_000)) == set(ids)
    with store.write() as tx:
        tx.unindex_words(workspace_id, ids[1:])
    assert search(store, workspace_id, "sea") == ids[:1]


def test_search_goes_on_while_passages_are_stored(store: RelationalStore, workspace_id: str) -> None:
    done = threading.Event()

    def look() -> int:
        seen = 0
        while not done.is_set():
            now = len(search(store, workspace_id, "sea", limit=100))
            assert now >= seen
            seen = now
        return seen

    add_passage(store, workspace_id, "sea")
    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for _ in range(30):
            add_passage(store, workspace_id, "sea")
        done.set()
        assert all(future.result(WAIT_SECONDS) >= 1 for future in looking)
    assert len(search(store, workspace_id, "sea", limit=100)) == 31


def test_a_closed_sqlite_store_is_one_whole_file(tmp_path: Path) -> None:
    """What is still in the write-ahead log is missed by whoever copies the file, as a backup does."""
    store = SqliteRelationalStore(tmp_path / "new.sqlite3")
    store.migrate(HEAD)
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["new.sqlite3"]


# --- Checked, rebuilt, compacted -----------------------------------------------------------------------------------


def agrees(store: RelationalStore, workspace_id: str) -> bool:
    with store.write() as tx:
        return tx.words_agree(workspace_id)


def test_each_gives_the_rows_one_by_one(store: RelationalStore) -> None:
    with store.write() as tx:
        for name in "abc":
            add_workspace_row(tx, name)
    with store.read() as tx:
        rows = tx.each("SELECT name FROM workspaces WHERE name > :least ORDER BY name", {"least": "a"})
        assert [row["name"] for row in rows] == ["b", "c"]


def test_a_phrase_is_found_only_with_its_words_in_order(store: RelationalStore, workspace_id: str) -> None:
    passage = add_passage(store, workspace_id, "the quick brown fox")
    add_passage(store, workspace_id, "the brown quick fox")
    add_passage(store, new_workspace(store), "the quick brown fox")
    with store.read() as tx:
        assert tx.search_phrase(workspace_id, ["quick", "brown"], 10) == [passage]
        assert tx.search_phrase(workspace_id, ["quick", '"', "fox OR"], 10) == []
        assert tx.search_phrase(workspace_id, [], 10) == []
        assert tx.search_phrase(new_id(), ["quick"], 10) == []


def test_the_index_agrees_with_its_rows_whatever_other_workspaces_have(
    store: RelationalStore, workspace_id: str
) -> None:
    assert agrees(store, workspace_id)
    add_passage(store, new_workspace(store), "of somebody else")
    first = add_passage(store, workspace_id, "first words")
    add_passage(store, workspace_id, "second words")
    with store.write() as tx:
        tx.unindex_words(workspace_id, [first])
        tx.execute("DELETE FROM passages WHERE id = :id", {"id": first})
    assert agrees(store, workspace_id)


@pytest.mark.parametrize("fault", ["text", "unindexed", "left"])
def test_an_index_that_disagrees_is_noticed_and_rebuilt(store: RelationalStore, workspace_id: str, fault: str) -> None:
    passage, other = (add_passage(store, workspace_id, f"original words {n}") for n in range(2))
    foreign = new_workspace(store)
    add_passage(store, foreign, "original words elsewhere")
    with store.write() as tx:
        if fault == "text":
            tx.execute("UPDATE passages SET text = 'changed meanwhile' WHERE id = :id", {"id": passage})
        elif fault == "unindexed":
            tx.unindex_words(workspace_id, [passage])
        else:
            tx.execute("DELETE FROM passages WHERE id = :id", {"id": passage})
            assert sorted(tx.search_phrase(workspace_id, ["original", "words"], 10), key=str) == [other, None]
        assert not tx.words_agree(workspace_id)
        assert tx.words_agree(foreign)
        assert tx.words_missing(workspace_id) == ([passage] if fault == "unindexed" else [])
        tx.rebuild_words(workspace_id)
        assert tx.words_agree(workspace_id)
        expected = {"text": [other], "unindexed": [passage, other], "left": [other]}[fault]
        assert sorted(tx.search_phrase(workspace_id, ["original", "words"], 10)) == sorted(expected)


def test_a_dropped_index_is_noticed_and_can_be_rebuilt(store: RelationalStore, workspace_id: str) -> None:
    passage = add_passage(store, workspace_id, "words")
    with store.write() as tx:
        tx.drop_words(workspace_id)
        assert tx.words_missing(workspace_id) == [passage]
        assert not tx.words_agree(workspace_id)
        tx.rebuild_words(workspace_id)
        assert tx.words_agree(workspace_id)


def test_a_sound_store_tells_of_no_damage(store: RelationalStore, workspace_id: str) -> None:
    add_passage(store, workspace_id, "words")
    assert store.damage() == []


def test_a_damaged_sqlite_file_is_told(tmp_path: Path, migrated_sqlite: Path) -> None:
    file = tmp_path / "own" / "store.sqlite3"
    file.parent.mkdir()
    shutil.copy(migrated_sqlite, file)
    store = SqliteRelationalStore(file)
    workspace_id = new_workspace(store)
    for n in range(200):
        add_passage(store, workspace_id, f"words {n} " * 30)
    store.close()
    content = bytearray(file.read_bytes())
    page = 4096 * (len(content) // 4096 // 2)
    content[page : page + 2048] = b"\xff" * 2048
    file.write_bytes(content)
    store = SqliteRelationalStore(file)
    assert store.damage()
    store.close()


def test_a_compacted_sqlite_store_has_no_byte_of_what_was_deleted(tmp_path: Path, migrated_sqlite: Path) -> None:
    file = tmp_path / "own" / "store.sqlite3"
    file.parent.mkdir()
    shutil.copy(migrated_sqlite, file)
    store = SqliteRelationalStore(file)
    workspace_id = new_workspace(store)
    gone = [add_passage(store, workspace_id, f"xylophone secret {n} " * 40) for n in range(50)]
    kept = add_passage(store, workspace_id, "marimba stays")
    with store.write() as tx:
        tx.unindex_words(workspace_id, gone)
        for id_ in gone:
            tx.execute("DELETE FROM passages WHERE id = :id", {"id": id_})
            tx.execute("DELETE FROM documents WHERE id = :id", {"id": id_})
        tx.rebuild_words(workspace_id)
    store.compact()
    content = b"".join(file.read_bytes() for file in file.parent.iterdir())
    assert b"xylophon" not in content.lower()
    assert not [id_ for id_ in gone if id_.encode() in content]
    assert b"marimba stays" in content
    with store.read() as tx:
        assert tx.search_phrase(workspace_id, ["marimba"], 10) == [kept]
    store.close()


class TestCopyingTables:
    def test_each_table_comes_after_those_that_it_references(self, store: RelationalStore) -> None:
        tables = store.tables()
        names = [table.name for table in tables]
        assert {"workspaces", "documents", "passages", "passage_embeddings", "jobs", "backups"} <= set(names)
        assert not [name for name in names if "words" in name or "alembic" in name or "sqlite" in name]
        for place, table in enumerate(tables):
            assert table.key
            assert {other for _, other, _ in table.references} <= set(names[: place + 1])
        (embeddings,) = (table for table in tables if table.name == "passage_embeddings")
        assert (list(embeddings.key), embeddings.binary) == (["passage_id"], {"vector"})
        assert list(embeddings.references) == [("passage_id", "passages", "id")]

    def test_the_index_of_words_is_no_table_of_the_schema(self, store: RelationalStore, workspace_id: str) -> None:
        before = store.tables()
        with store.write() as tx:
            tx.index_words(workspace_id, [store_passage(tx, workspace_id, "sea")])
        assert store.tables() == before

    def test_rows_that_were_read_one_by_one_are_loaded_as_they_were(self, store: RelationalStore) -> None:
        (table,) = (table for table in store.tables() if table.name == "workspaces")
        for _ in range(5):
            new_workspace(store)
        with store.read() as tx:
            rows = [
                dict(row) for row in tx.each("SELECT * FROM workspaces WHERE id <> :id ORDER BY id", {"id": NOBODY})
            ]
        assert len(rows) == 5
        with store.write() as tx:
            tx.execute("DELETE FROM workspaces")
            tx.load(table, rows)
        with store.read() as tx:
            assert [dict(row) for row in tx.all("SELECT * FROM workspaces ORDER BY id")] == rows

    @pytest.mark.parametrize(
        "row",
        [
            {"id": "x", "name": None, "created_at": 1},
            {"id": "x", "name": ["a list"], "created_at": 1},
            {"id": "x", "name": "no time"},
            {"id": "x", "name": "a number that is too large", "created_at": 2**70},
        ],
    )
    def test_rows_that_do_not_fit_are_refused_and_nothing_is_kept(self, store: RelationalStore, row: dict) -> None:
        (table,) = (table for table in store.tables() if table.name == "workspaces")
        with pytest.raises(Invalid, match="workspaces"), store.write() as tx:
            tx.load(table, [{"id": "first", "name": "fits", "created_at": 1}, row])
        with store.read() as tx:
            assert tx.one("SELECT 1 FROM workspaces") is None

    def test_a_workspace_that_is_no_id_is_no_part_of_a_statement(self, store: RelationalStore) -> None:
        with pytest.raises(Invalid), store.write() as tx:
            tx.index_words("x USING fts5(y); DROP TABLE jobs; --", [])
