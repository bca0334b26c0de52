"""The graph in one ladybug file, in this process.

Cypher here is kept to what Neo4j and Neptune understand too, except for the schema that ladybug wants. Ladybug takes
one write transaction at a time, so writes wait for each other under a lock. Node ids are unique across workspaces;
each query names the workspace all the same.
"""

from __future__ import annotations

import csv
import queue
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from pegasus.domain import Entity
from pegasus.errors import Misconfigured, Unavailable
from pegasus.ports import GraphContents, GraphFact, GraphNeighbour, GraphPassage

_READERS = 4
# Without limits ladybug takes 80 % of the machine's memory and all of its cores.
_BUFFER_BYTES = 128 * 2**20
_MAX_FILE_BYTES = 2**36
_THREADS = 1
# A COPY of more rows than fit into its buffers fails.
_COPIED_ROWS = 100_000
# Nodes in one query of a scan; with all that a node has, some megabytes.
_SLICE = 2_000
# Of an entity that is mentioned everywhere, so many passages tell well enough what goes with it.
_MAX_PASSAGES = 500

_SCHEMA = (
    "CREATE NODE TABLE IF NOT EXISTS Document(id STRING PRIMARY KEY, workspace STRING, title STRING)",
    "CREATE NODE TABLE IF NOT EXISTS Passage(id STRING PRIMARY KEY, workspace STRING)",
    "CREATE NODE TABLE IF NOT EXISTS Entity(id STRING PRIMARY KEY, workspace STRING, name STRING, kind STRING)",
    "CREATE REL TABLE IF NOT EXISTS CONTAINS(FROM Document TO Passage)",
    "CREATE REL TABLE IF NOT EXISTS MENTIONS(FROM Passage TO Entity)",
    "CREATE REL TABLE IF NOT EXISTS LINKS(FROM Document TO Document)",
)


class LadybugGraphStore:
    purges = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lost_its_end = False
        _finish_exchange(path)
        self._write_lock = threading.Lock()
        self._readers: queue.LifoQueue[Any] = queue.LifoQueue()
        self._open()

    def _open(self) -> None:
        import ladybug

        try:
            self._database = self._opened()
        except RuntimeError as error:
            raise Misconfigured(
                f"The graph {self._path} cannot be opened: {error}.",
                hint="It can be made anew from the rows: remove that file, then run: pegasus check --repair",
            ) from error
        self._writer = ladybug.Connection(self._database)
        for statement in _SCHEMA:
            self._writer.execute(statement)
        for _ in range(_READERS):
            self._readers.put(ladybug.Connection(self._database))

    def _opened(self) -> Any:
        try:
            return _database(self._path)
        except RuntimeError:
            # A kill in the midst of a write leaves a log whose last record is torn, which the engine takes for damage.
            # Without that record, and whatever follows one that is really damaged, it can be read.
            database = _database(self._path, whole=False)
            self.lost_its_end = True
            return database

    @contextmanager
    def _write(self) -> Iterator[Any]:
        with self._write_lock, _unavailable():
            self._writer.execute("BEGIN TRANSACTION")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                self._rollback()
                raise

    def _rollback(self) -> None:
        try:
            self._writer.execute("ROLLBACK")
        except RuntimeError:
            # Some failures end the transaction by themselves, and a second rollback is then an error; a transaction
            # that really stayed open makes the next BEGIN fail, which is reported there.
            return

    def _read(self, cypher: str, parameters: Mapping[str, Any]) -> list[list[Any]]:
        connection = self._readers.get()
        try:
            with _unavailable():
                rows: list[list[Any]] = connection.execute(cypher, dict(parameters)).get_all()
                return rows
        finally:
            self._readers.put(connection)

    def upsert_documents(self, workspace_id: str, titles: Mapping[str, str]) -> None:
        with self._write() as connection:
            known = self._known(connection, "Document", list(titles))
            for rows, cypher in (
                (_rows(titles, known),
                 "MATCH (d:Document {id: row.id}) WHERE d.workspace = $workspace SET d.title = row.title"),
                (_rows(titles, titles.keys() - known),
                 "CREATE (:Document {id: row.id, workspace: $workspace, title: row.title})"),
            ):  # fmt: skip
                if rows:
                    connection.execute(f"UNWIND $rows AS row {cypher}", {"rows": rows, "workspace": workspace_id})

    @staticmethod
    def _known(connection: Any, label: str, ids: Sequence[str]) -> set[str]:
        """Which ids have a node. MERGE would ask the same, but by a scan of all nodes of the label."""
        if not ids:
            return set()
        rows = connection.execute(f"UNWIND $ids AS id MATCH (n:{label} {{id: id}}) RETURN n.id", {"ids": list(ids)})
        return {row[0] for row in rows.get_all()}

    def upsert_passages(self, workspace_id: str, entities: Sequence[Entity], passages: Sequence[GraphPassage]) -> None:
        rows = [{"id": p.id, "document": p.document_id, "mentions": list(p.mentions)} for p in passages]
        with self._write() as connection:
            known = self._known(connection, "Entity", [entity.id for entity in entities])
            if new := [{"id": e.id, "name": e.name, "kind": e.kind} for e in entities if e.id not in known]:
                connection.execute(
                    "UNWIND $rows AS row"
                    " CREATE (:Entity {id: row.id, workspace: $workspace, name: row.name, kind: row.kind})",
                    {"rows": new, "workspace": workspace_id},
                )
            if not rows:
                return
            # Made anew rather than merged: MERGE looks for each edge before it makes it, at many times the cost.
            self._delete_nodes(connection, "Passage", workspace_id, [passage.id for passage in passages])
            connection.execute(
                "UNWIND $rows AS row MATCH (d:Document {id: row.document}) WHERE d.workspace = $workspace"
                " CREATE (d)-[:CONTAINS]->(:Passage {id: row.id, workspace: $workspace})",
                {"rows": rows, "workspace": workspace_id},
            )
            # One MATCH after the other: with a comma between them ladybug plans a cross product, 15 times slower.
            if mentioning := [row for row in rows if row["mentions"]]:
                connection.execute(
                    "UNWIND $rows AS row MATCH (p:Passage {id: row.id}) WHERE p.workspace = $workspace"
                    " UNWIND row.mentions AS entity MATCH (e:Entity {id: entity}) WHERE e.workspace = $workspace"
                    " CREATE (p)-[:MENTIONS]->(e)",
                    {"rows": mentioning, "workspace": workspace_id},
                )

    def set_links(self, workspace_id: str, links: Mapping[str, Sequence[str]]) -> None:
        pairs = [{"source": source, "target": target} for source, targets in links.items() for target in targets]
        with self._write() as connection:
            connection.execute(
                "UNWIND $sources AS id MATCH (s:Document {id: id}) WHERE s.workspace = $workspace"
                " MATCH (s)-[l:LINKS]->(:Document) DELETE l",
                {"sources": list(links), "workspace": workspace_id},
            )
            if pairs:
                connection.execute(
                    "UNWIND $rows AS row MATCH (s:Document {id: row.source}) WHERE s.workspace = $workspace"
                    " MATCH (t:Document {id: row.target}) WHERE t.workspace = $workspace CREATE (s)-[:LINKS]->(t)",
                    {"rows": pairs, "workspace": workspace_id},
                )

    def delete_passages(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        self._delete("Passage", workspace_id, passage_ids)

    def delete_entities(self, workspace_id: str, entity_ids: Sequence[str]) -> None:
        self._delete("Entity", workspace_id, entity_ids)

    def delete_documents(self, workspace_id: str, document_ids: Sequence[str]) -> None:
        self._delete("Document", workspace_id, document_ids)

    def _delete(self, label: str, workspace_id: str, ids: Sequence[str]) -> None:
        if ids:
            with self._write() as connection:
                self._delete_nodes(connection, label, workspace_id, ids)

    @staticmethod
    def _delete_nodes(connection: Any, label: str, workspace_id: str, ids: Sequence[str]) -> None:
        connection.execute(
            f"UNWIND $ids AS id MATCH (n:{label} {{id: id}}) WHERE n.workspace = $workspace DETACH DELETE n",
            {"ids": list(ids), "workspace": workspace_id},
        )

    def co_mentioned(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> list[GraphNeighbour]:
        entities: dict[str, Entity] = {}
        shared: Counter[str] = Counter()
        for passage, _ in self.mentioning(workspace_id, entity_ids, _MAX_PASSAGES):
            for id_, name, kind in self._read(
                "MATCH (p:Passage {id: $id}) WHERE p.workspace = $workspace"
                " MATCH (p)-[:MENTIONS]->(o:Entity) RETURN o.id, o.name, o.kind",
                {"id": passage, "workspace": workspace_id},
            ):
                entities[id_] = Entity(id_, name, kind)
                shared[id_] += 1
        for id_ in entity_ids:
            shared.pop(id_, None)
        best = sorted(shared, key=lambda id_: (-shared[id_], id_))[:limit]
        return [GraphNeighbour(entities[id_], shared[id_]) for id_ in best]

    def mentioning(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> list[tuple[str, int]]:
        counts: Counter[str] = Counter()
        # A query for each start: from several at once ladybug scans all edges instead (10 ms against 0.03 each).
        for entity_id in entity_ids:
            rows = self._read(
                "MATCH (e:Entity {id: $id}) WHERE e.workspace = $workspace"
                f" MATCH (e)<-[:MENTIONS]-(p:Passage) RETURN p.id LIMIT {_MAX_PASSAGES}",
                {"id": entity_id, "workspace": workspace_id},
            )
            counts.update(row[0] for row in rows)
        best = sorted(counts, key=lambda id_: (-counts[id_], id_))[:limit]
        return [(id_, counts[id_]) for id_ in best]

    def linked(self, workspace_id: str, document_ids: Sequence[str]) -> list[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for start, pattern in (("s", "(s)-[:LINKS]->(t:Document)"), ("t", "(s:Document)-[:LINKS]->(t)")):
            rows = self._read(
                f"UNWIND $ids AS id MATCH ({start}:Document {{id: id}}) WHERE {start}.workspace = $workspace"
                f" MATCH {pattern} RETURN s.id, t.id",
                {"ids": list(document_ids), "workspace": workspace_id},
            )
            found.update((source, target) for source, target in rows)
        return sorted(found)

    def node_ids(self, workspace_id: str, label: str) -> Iterator[str]:
        for row in self._sliced(
            label, f"MATCH (n:{label}) WHERE n.workspace = $workspace", "RETURN n.id", workspace_id
        ):
            yield row[0]

    def existing(self, workspace_id: str, label: str, ids: Sequence[str]) -> set[str]:
        if not ids:
            return set()
        rows = self._read(
            f"UNWIND $ids AS id MATCH (n:{label} {{id: id}}) WHERE n.workspace = $workspace RETURN n.id",
            {"ids": list(ids), "workspace": workspace_id},
        )
        return {row[0] for row in rows}

    def facts(self, workspace_id: str, document_id: str | None = None) -> Iterator[GraphFact]:
        if document_id is None:
            yield from self._all_facts(workspace_id)
            return
        chosen = {"id": document_id, "workspace": workspace_id}
        document = "MATCH (n:Document {id: $id}) WHERE n.workspace = $workspace"
        for (title,) in self._read(f"{document} RETURN n.title", chosen):
            yield (document_id, "title", title)
        for (target,) in self._read(f"{document} MATCH (n)-[:LINKS]->(t:Document) RETURN t.id", chosen):
            yield (document_id, "link", target)
        passages = [row[0] for row in self._read(f"{document} MATCH (n)-[:CONTAINS]->(p:Passage) RETURN p.id", chosen)]
        for first in range(0, len(passages), _SLICE):
            some = passages[first : first + _SLICE]
            yield from ((document_id, "passage", id_) for id_ in some)
            mentions = "UNWIND $ids AS id MATCH (n:Passage {id: id})-[:MENTIONS]->(e:Entity) RETURN n.id, e.id"
            for passage, entity in self._read(mentions, {"ids": some}):
                yield (document_id, "mention", passage, entity)

    def _all_facts(self, workspace_id: str) -> Iterator[GraphFact]:
        own = "WHERE n.workspace = $workspace"
        for values in self._sliced("Entity", f"MATCH (n:Entity) {own}", "RETURN n.id, n.name, n.kind", workspace_id):
            yield ("", "entity", *values)
        for id_, title in self._sliced("Document", f"MATCH (n:Document) {own}", "RETURN n.id, n.title", workspace_id):
            yield (id_, "title", title)
        linked = f"MATCH (n:Document)-[:LINKS]->(t:Document) {own}"
        for id_, target in self._sliced("Document", linked, "RETURN n.id, t.id", workspace_id):
            yield (id_, "link", target)
        contained = "MATCH (d:Document)-[:CONTAINS]->(n:Passage) WHERE d.workspace = $workspace"
        mentioned = f"MATCH (n:Passage)-[:MENTIONS]->(e:Entity) {own}"
        for chosen, parameters in self._slices("Passage", workspace_id):
            documents: dict[str, list[str]] = defaultdict(list)
            for passage, document in self._read(f"{contained} {chosen} RETURN n.id, d.id", parameters):
                documents[passage].append(document)
                yield (document, "passage", passage)
            # Joined here: the database would build a table of all passages in its memory for each slice.
            for passage, entity in self._read(f"{mentioned} {chosen} RETURN n.id, e.id", parameters):
                for document in documents.get(passage, ()):
                    yield (document, "mention", passage, entity)

    def _sliced(self, label: str, matching: str, returning: str, workspace_id: str) -> Iterator[list[Any]]:
        """The rows of a query over the nodes ``n`` of a label, whatever number there is of them."""
        for chosen, parameters in self._slices(label, workspace_id):
            yield from self._read(f"{matching} {chosen} {returning}", parameters)

    def _slices(self, label: str, workspace_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Conditions, each with its parameters, that choose all nodes ``n`` of a label between them.

        ladybug holds the whole result of a query in its buffers, and fails when it does not fit.
        """
        ((last,),) = self._read(f"MATCH (n:{label}) RETURN max(offset(id(n)))", {})
        for first in range(0, (last or 0) + 1, _SLICE):
            yield (
                "AND offset(id(n)) >= $first AND offset(id(n)) < $after",
                {"workspace": workspace_id, "first": first, "after": first + _SLICE},
            )

    def holds_anything(self) -> bool:
        return any(self._read("MATCH (n) RETURN n.id LIMIT 1", {}))

    def rebuild(self, contents: GraphContents) -> None:
        # A new file, filled by COPY: many times quicker than statements, and free of whatever the old one still has.
        fresh = _beside(self._path, "new")
        _remove(fresh)
        try:
            with _unavailable(), tempfile.TemporaryDirectory(dir=self._path.parent, prefix="graph.load-") as folder:
                _load(fresh, contents, Path(folder))
        except BaseException:
            _remove(fresh)
            raise
        with self._write_lock:
            self._close()
            _remove(_beside(self._path, "old"))
            self._path.rename(_beside(self._path, "old"))
            _finish_exchange(self._path)
            self._open()

    def ping(self) -> None:
        self._read("RETURN 1", {})

    def close(self) -> None:
        with self._write_lock:
            self._close()

    def _close(self) -> None:
        for _ in range(_READERS):
            self._readers.get().close()
        self._writer.close()
        self._database.close()


def _database(path: Path, *, whole: bool = True) -> Any:
    """``whole``: fail where the log cannot be read to its end."""
    import ladybug

    return ladybug.Database(
        str(path), buffer_pool_size=_BUFFER_BYTES, max_num_threads=_THREADS, max_db_size=_MAX_FILE_BYTES,
        throw_on_wal_replay_failure=whole,
    )  # fmt: skip


def _load(path: Path, contents: GraphContents, folder: Path) -> None:
    import ladybug

    database = _database(path)
    connection = ladybug.Connection(database)
    try:
        for statement in _SCHEMA:
            connection.execute(statement)
        for table, rows in (
            ("Document", contents.documents), ("Passage", contents.passages), ("Entity", contents.entities),
            ("CONTAINS", contents.contains), ("MENTIONS", contents.mentions), ("LINKS", contents.links),
        ):  # fmt: skip
            remaining, file = iter(rows), folder / f"{table}.csv"
            while some := list(islice(remaining, _COPIED_ROWS)):
                with file.open("w", encoding="utf-8", newline="") as stream:
                    csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(some)
                # Names may have line breaks, which reading in parallel would split.
                connection.execute(f"COPY {table} FROM '{file}' (HEADER=false, PARALLEL=false, ESCAPE='\"')")
                file.unlink()
        connection.execute("CHECKPOINT")
    finally:
        connection.close()
        database.close()


def _beside(path: Path, which: str) -> Path:
    return path.with_name(f"{path.name}.{which}")


def _remove(path: Path) -> None:
    """A file with all that the engine keeps beside it: a log or a checkpoint must not be taken for another file's."""
    path.unlink(missing_ok=True)
    exchanged = (_beside(path, "new").name, _beside(path, "old").name)
    for file in path.parent.glob(f"{path.name}.*"):
        if not file.name.startswith(exchanged):
            file.unlink(missing_ok=True)


def _finish_exchange(path: Path) -> None:
    """Put a rebuilt file in the place of the old one, or, when it was not complete, remove what is there of it.

    It is complete once the old one was moved away, whatever process did that.
    """
    fresh, old = _beside(path, "new"), _beside(path, "old")
    if fresh.is_file() and old.is_file() and not path.exists():
        _remove(path)  # The old file's log must not be taken for the new one's.
        fresh.rename(path)
    for left_over in (fresh, old):
        _remove(left_over)
    for folder in path.parent.glob("graph.load-*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # The only exception that ladybug's binding raises.
        raise Unavailable(
            f"The graph store cannot do this now: {error}.",
            hint="Check the free space and the permissions of the data directory, then try again.",
        ) from error


def _rows(titles: Mapping[str, str], ids: Iterable[str]) -> list[dict[str, str]]:
    return [{"id": id_, "title": titles[id_]} for id_ in sorted(ids)]
