"""The graph in one ladybug file, in this process.

Cypher here is kept to what Neo4j and Neptune understand too, except for the schema that ladybug wants. Ladybug takes
one write transaction at a time, so writes wait for each other under a lock. Node ids are unique across workspaces;
each query names the workspace all the same.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pegasus.domain import Entity
from pegasus.errors import Misconfigured, Unavailable
from pegasus.ports import GraphNeighbour, GraphPassage

_READERS = 4
# Without limits ladybug takes 80 % of the machine's memory and all of its cores.
_BUFFER_BYTES = 128 * 2**20
_MAX_FILE_BYTES = 2**36
_THREADS = 2

_SCHEMA = (
    "CREATE NODE TABLE IF NOT EXISTS Document(id STRING PRIMARY KEY, workspace STRING, title STRING)",
    "CREATE NODE TABLE IF NOT EXISTS Passage(id STRING PRIMARY KEY, workspace STRING)",
    "CREATE NODE TABLE IF NOT EXISTS Entity(id STRING PRIMARY KEY, workspace STRING, name STRING, kind STRING)",
    "CREATE REL TABLE IF NOT EXISTS CONTAINS(FROM Document TO Passage)",
    "CREATE REL TABLE IF NOT EXISTS MENTIONS(FROM Passage TO Entity)",
    "CREATE REL TABLE IF NOT EXISTS LINKS(FROM Document TO Document)",
)


class LadybugGraphStore:
    def __init__(self, path: Path) -> None:
        import ladybug

        try:
            self._database = ladybug.Database(
                str(path), buffer_pool_size=_BUFFER_BYTES, max_num_threads=_THREADS, max_db_size=_MAX_FILE_BYTES
            )
        except RuntimeError as error:
            raise Misconfigured(
                f"The graph {path} cannot be opened: {error}.",
                hint="If another process has it open, stop that one; else move the file away: it can be rebuilt.",
            ) from error
        self._write_lock = threading.Lock()
        self._writer = ladybug.Connection(self._database)
        for statement in _SCHEMA:
            self._writer.execute(statement)
        self._readers: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(_READERS):
            self._readers.put(ladybug.Connection(self._database))

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
        rows = [{"id": id_, "title": title} for id_, title in titles.items()]
        if rows:
            with self._write() as connection:
                connection.execute(
                    "UNWIND $rows AS row MERGE (d:Document {id: row.id})"
                    " ON CREATE SET d.workspace = $workspace, d.title = row.title ON MATCH SET d.title = row.title",
                    {"rows": rows, "workspace": workspace_id},
                )

    def upsert_passages(
        self, workspace_id: str, entities: Sequence[Entity], passages: Sequence[GraphPassage]
    ) -> None:
        nodes = [{"id": e.id, "name": e.name, "kind": e.kind} for e in entities]
        rows = [{"id": p.id, "document": p.document_id} for p in passages]
        mentions = [{"p": p.id, "e": e} for p in passages for e in p.mentions]
        with self._write() as connection:
            for cypher, values in (
                ("UNWIND $rows AS row MERGE (e:Entity {id: row.id})"
                 " ON CREATE SET e.workspace = $workspace, e.name = row.name, e.kind = row.kind", nodes),
                ("UNWIND $rows AS row MERGE (p:Passage {id: row.id}) ON CREATE SET p.workspace = $workspace", rows),
                ("UNWIND $rows AS row MATCH (d:Document {id: row.document}), (p:Passage {id: row.id})"
                 " WHERE d.workspace = $workspace MERGE (d)-[:CONTAINS]->(p)", rows),
                ("UNWIND $rows AS row MATCH (p:Passage {id: row.p}), (e:Entity {id: row.e})"
                 " WHERE p.workspace = $workspace MERGE (p)-[:MENTIONS]->(e)", mentions),
            ):  # fmt: skip
                if values:
                    connection.execute(cypher, _used(cypher, {"rows": values, "workspace": workspace_id}))

    def set_links(self, workspace_id: str, links: Mapping[str, Sequence[str]]) -> None:
        pairs = [{"source": source, "target": target} for source, targets in links.items() for target in targets]
        with self._write() as connection:
            connection.execute(
                "UNWIND $sources AS id MATCH (s:Document {id: id})-[l:LINKS]->(:Document)"
                " WHERE s.workspace = $workspace DELETE l",
                {"sources": list(links), "workspace": workspace_id},
            )
            if pairs:
                connection.execute(
                    "UNWIND $rows AS row MATCH (s:Document {id: row.source}), (t:Document {id: row.target})"
                    " WHERE s.workspace = $workspace AND t.workspace = $workspace MERGE (s)-[:LINKS]->(t)",
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
                connection.execute(
                    f"UNWIND $ids AS id MATCH (n:{label} {{id: id}}) WHERE n.workspace = $workspace DETACH DELETE n",
                    {"ids": list(ids), "workspace": workspace_id},
                )

    def co_mentioned(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> list[GraphNeighbour]:
        rows = self._read(
            "UNWIND $ids AS id MATCH (e:Entity {id: id})<-[:MENTIONS]-(p:Passage)-[:MENTIONS]->(o:Entity)"
            " WHERE e.workspace = $workspace AND NOT o.id IN $ids"
            " RETURN o.id, o.name, o.kind, count(DISTINCT p.id) AS passages"
            f" ORDER BY passages DESC, o.id LIMIT {int(limit)}",
            {"ids": list(entity_ids), "workspace": workspace_id},
        )
        return [GraphNeighbour(Entity(id_, name, kind), passages) for id_, name, kind, passages in rows]

    def mentioning(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> list[tuple[str, str, int]]:
        rows = self._read(
            "UNWIND $ids AS id MATCH (e:Entity {id: id})<-[:MENTIONS]-(p:Passage)<-[:CONTAINS]-(d:Document)"
            " WHERE e.workspace = $workspace RETURN p.id, d.id, count(DISTINCT e.id) AS entities"
            f" ORDER BY entities DESC, p.id LIMIT {int(limit)}",
            {"ids": list(entity_ids), "workspace": workspace_id},
        )
        return [(passage, document, entities) for passage, document, entities in rows]

    def linked(self, workspace_id: str, document_ids: Sequence[str]) -> list[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for pattern in ("(s:Document {id: id})-[:LINKS]->(t:Document)", "(s:Document)-[:LINKS]->(t:Document {id: id})"):
            rows = self._read(
                f"UNWIND $ids AS id MATCH {pattern} WHERE s.workspace = $workspace RETURN s.id, t.id",
                {"ids": list(document_ids), "workspace": workspace_id},
            )
            found.update((source, target) for source, target in rows)
        return sorted(found)

    def node_ids(self, workspace_id: str, label: str) -> Iterator[str]:
        rows = self._read(f"MATCH (n:{label}) WHERE n.workspace = $workspace RETURN n.id", {"workspace": workspace_id})
        yield from (row[0] for row in rows)

    def ping(self) -> None:
        self._read("RETURN 1", {})

    def close(self) -> None:
        with self._write_lock:
            for _ in range(_READERS):
                self._readers.get().close()
            self._writer.close()
            self._database.close()


def _used(cypher: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Ladybug refuses a parameter that the query does not name."""
    return {name: value for name, value in parameters.items() if f"${name}" in cypher}


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # The only exception that ladybug's binding raises.
        raise Unavailable(f"The graph store cannot do this now: {error}.") from error
