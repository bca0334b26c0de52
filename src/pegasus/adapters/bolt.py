"""The graph in a server that speaks Bolt: Neo4j, or Amazon Neptune.

The queries keep to the openCypher that both understand. ``~id`` is Neptune's own id of a node, the only thing there
that is unique; in Neo4j it is a property like any other, with a constraint. It begins with a generation: a rebuild
fills a new one beside the one that is read, and one write to the node ``Pegasus`` then exchanges them. Each transaction
asks that node first, so that every process moves on at the same moment.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from pegasus.domain import Entity
from pegasus.errors import Misconfigured, PegasusError, TimedOut, Unavailable
from pegasus.ports import GraphContents, GraphFact, GraphNeighbour, GraphPassage
from pegasus.time_limits import LimitedCalls

if TYPE_CHECKING:
    from neo4j import Driver, Transaction
    from neo4j.auth_management import AuthManager

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LABELS = ("Document", "Passage", "Entity")
_FIRST_GENERATION = "0"
# Of an entity that is mentioned everywhere, so many passages tell well enough what goes with it.
_MAX_PASSAGES = 500
# One statement's rows, and one transaction's passages: longer ones meet each other more often.
_ROWS, _PASSAGES = 2_000, 500

_CONNECT_SECONDS, _ACQUIRE_SECONDS = 5.0, 10.0
_IDLE_SECONDS = 30.0  # After so long a connection is asked whether it is still there, before it is used.
_TRANSACTION_SECONDS, _STREAM_SECONDS = 30.0, 600.0  # Kept by the server, where it knows of such limits.
# Kept here, for a server that has fallen silent: for a write, which may have to be done again, and for a question.
_CALL_SECONDS, _ANSWER_SECONDS = 90.0, 10.0
_THREADS = 16
# Tries of a transaction that met another one, and of one whose connection was lost.
_CONFLICTS, _LOSSES = 10, 2
_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.02, 2.0

_AWAY_HINT = "Check that the server of PEGASUS_GRAPH_URL runs and can be reached, then try again."


class BoltGraphStore:
    """A server that is away does not keep Pegasus from starting; one that refuses it does."""

    purges = False  # What is deleted stays in the server's files until it uses their space again.
    lost_its_end = False  # What a server has said that it has kept, it keeps.

    def __init__(
        self,
        address: str,
        auth: tuple[str, str] | AuthManager | None,
        *,
        database: str | None = None,
        neptune: bool = False,
    ) -> None:
        """``address``: scheme, host and port, without secrets. Neptune has one database, and no schema to be made.

        Raises ``Misconfigured`` when the server answers and does not let us in.
        """
        # A label that no node has yet is no news, and is told with each query.
        logging.getLogger("neo4j.notifications").setLevel(logging.ERROR)
        self._address, self._database, self._schema_made = address, database, neptune
        self._calls = LimitedCalls("graph", _THREADS, _CALL_SECONDS, _AWAY_HINT)
        self._connect = partial(_connect, address, auth)
        self._driver, self._connecting = self._connect(), threading.Lock()
        try:
            self._check_access()
        except Unavailable as error:
            log.warning("graph.unavailable", error=error.detail)
        except BaseException:
            self.close()
            raise

    def _check_access(self) -> None:
        from neo4j.exceptions import AuthError, ConfigurationError, Neo4jError

        try:
            self.ping()
        except Unavailable as error:
            cause = error.__cause__
            if isinstance(cause, (AuthError, ConfigurationError)) or (
                isinstance(cause, Neo4jError) and "DatabaseNotFound" in (cause.code or "")
            ):
                raise Misconfigured(
                    error.detail,
                    hint="Check the user, the password and the database in PEGASUS_GRAPH_URL; for Neptune the region,"
                    " and that the role may connect (neptune-db:*).",
                ) from error
            raise

    # --- Transactions

    def _session(self) -> Any:
        # Always as a writer: a follower of a cluster may not know yet what was written a moment ago.
        return self._driver.session(database=self._database)

    def _transact(self, work: Callable[[_Transaction], T], within_seconds: float | None = None) -> T:
        """What ``work`` returns, once it is committed. It is done again when it meets another transaction."""
        try:
            return self._calls.result(self._calls.start(self._attempts, work), within_seconds)
        except TimedOut as error:
            self._let_go_of_what_hangs()
            # A server that is away, not a step that hangs: its jobs are tried again for longer.
            detail = f"The graph server {self._address} says nothing: {error.detail}"
            raise Unavailable(detail, hint=_AWAY_HINT) from error

    def _let_go_of_what_hangs(self) -> None:
        """Connections whose other end is gone without a word are never heard of again, and the driver, which has no
        limit for that, waits on: closing them gives the threads back that wait for them."""
        with self._connecting:
            if not self._calls.all_hang():
                return
            gone, self._driver = self._driver, self._connect()
        log.warning("graph.connected_anew", address=self._address)
        _close(gone)

    def _ask(self, work: Callable[[_Transaction], T]) -> T:
        """The same for what somebody is waiting for."""
        return self._transact(work, _ANSWER_SECONDS)

    def _attempts(self, work: Callable[[_Transaction], T]) -> T:
        from neo4j.exceptions import DriverError, Neo4jError

        left = Counter(conflict=_CONFLICTS, loss=_LOSSES)
        attempt = 0
        while True:
            try:
                self._make_schema()
                with self._session() as session, session.begin_transaction(timeout=_TRANSACTION_SECONDS) as tx:
                    result = work(_Transaction(tx))
                    tx.commit()
                    return result
            except (Neo4jError, DriverError, OSError) as error:
                kind = _passing(error)
                left[kind] -= 1
                if left[kind] <= 0:
                    raise self._told(error) from error
            pause = min(_BACKOFF_SECONDS * 2**attempt, _MAX_BACKOFF_SECONDS)
            time.sleep(pause * random.uniform(0.5, 1.5))
            attempt += 1

    def _make_schema(self) -> None:
        """What makes ``~id`` unique and quick to find where it is only a property; once for each process."""
        if self._schema_made:
            return
        with self._session() as session:
            for label in (*_LABELS, "Pegasus"):
                session.run(f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{label}) REQUIRE n.`~id` IS UNIQUE").consume()
            for label in _LABELS:
                for name in ("workspace", "generation"):
                    session.run(f"CREATE INDEX IF NOT EXISTS FOR (n:{label}) ON (n.{name})").consume()
        self._schema_made = True

    def _told(self, error: Exception) -> Unavailable:
        reason = str(error).partition("\n")[0][:300]
        return Unavailable(f"The graph server {self._address} cannot do this now: {reason}", hint=_AWAY_HINT)

    @contextmanager
    def _reading(self) -> Iterator[_Transaction]:
        """For results that are too long to be held: not repeated, for the first of them may be used already."""
        from neo4j.exceptions import DriverError, Neo4jError

        try:
            with self._session() as session, session.begin_transaction(timeout=_STREAM_SECONDS) as tx:
                yield _Transaction(tx)
        except (Neo4jError, DriverError, OSError) as error:
            raise self._told(error) from error

    # --- Writing

    def upsert_documents(self, workspace_id: str, titles: Mapping[str, str]) -> None:
        def work(tx: _Transaction) -> None:
            tx.each(
                "MERGE (d:Document {`~id`: row.key})"
                " ON CREATE SET d.id = row.id, d.workspace = $workspace, d.generation = $generation"
                " WITH d, row WHERE d.workspace = $workspace SET d.title = row.title",
                [{"key": tx.key("Document", id_), "id": id_, "title": title} for id_, title in sorted(titles.items())],
                workspace=workspace_id, generation=tx.generation,
            )  # fmt: skip

        if titles:
            self._transact(work)

    def upsert_passages(self, workspace_id: str, entities: Sequence[Entity], passages: Sequence[GraphPassage]) -> None:
        def name_entities(tx: _Transaction) -> None:
            tx.each(
                "MERGE (e:Entity {`~id`: row.key}) ON CREATE SET e.id = row.id, e.workspace = $workspace,"
                " e.generation = $generation, e.name = row.name, e.kind = row.kind",
                # In the order of their ids, as everybody takes them: two that want the same ones do not lock crosswise.
                [{"key": tx.key("Entity", e.id), "id": e.id, "name": e.name, "kind": e.kind}
                 for e in sorted(entities, key=lambda e: e.id)],
                workspace=workspace_id, generation=tx.generation,
            )  # fmt: skip

        if entities:
            self._transact(name_entities)
        for some in _batches(passages, _PASSAGES):
            self._transact(lambda tx, some=some: self._upsert_passages(tx, workspace_id, some))  # type: ignore[misc]

    @staticmethod
    def _upsert_passages(tx: _Transaction, workspace_id: str, passages: Sequence[GraphPassage]) -> None:
        rows = [
            {"key": tx.key("Passage", p.id), "id": p.id, "document": tx.key("Document", p.document_id)}
            for p in sorted(passages, key=lambda p: p.id)
        ]
        tx.each(
            "MERGE (p:Passage {`~id`: row.key})"
            " ON CREATE SET p.id = row.id, p.workspace = $workspace, p.generation = $generation",
            rows, workspace=workspace_id, generation=tx.generation,
        )  # fmt: skip
        tx.each(
            "MATCH (p:Passage {`~id`: row.key})-[m:MENTIONS]->(:Entity) WHERE p.workspace = $workspace DELETE m",
            rows, workspace=workspace_id,
        )  # fmt: skip
        tx.each(
            # From the passage, which has one such edge; the document has them all, and they would be looked through.
            "MATCH (d:Document {`~id`: row.document}) WHERE d.workspace = $workspace"
            " MATCH (p:Passage {`~id`: row.key}) WHERE p.workspace = $workspace MERGE (p)<-[:CONTAINS]-(d)",
            rows, workspace=workspace_id,
        )  # fmt: skip
        tx.each(
            "MATCH (p:Passage {`~id`: row.passage}) WHERE p.workspace = $workspace"
            " MATCH (e:Entity {`~id`: row.entity}) WHERE e.workspace = $workspace MERGE (p)-[:MENTIONS]->(e)",
            [{"passage": tx.key("Passage", p.id), "entity": tx.key("Entity", id_)}
             for p in passages for id_ in dict.fromkeys(p.mentions)],
            workspace=workspace_id,
        )  # fmt: skip

    def set_links(self, workspace_id: str, links: Mapping[str, Sequence[str]]) -> None:
        def work(tx: _Transaction) -> None:
            tx.each(
                "MATCH (s:Document {`~id`: row.key})-[l:LINKS]->(:Document) WHERE s.workspace = $workspace DELETE l",
                [{"key": tx.key("Document", source)} for source in links],
                workspace=workspace_id,
            )
            tx.each(
                "MATCH (s:Document {`~id`: row.source}) WHERE s.workspace = $workspace"
                " MATCH (t:Document {`~id`: row.target}) WHERE t.workspace = $workspace MERGE (s)-[:LINKS]->(t)",
                [{"source": tx.key("Document", source), "target": tx.key("Document", target)}
                 for source, targets in links.items() for target in targets],
                workspace=workspace_id,
            )  # fmt: skip

        if links:
            self._transact(work)

    def delete_passages(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        self._delete("Passage", workspace_id, passage_ids)

    def delete_entities(self, workspace_id: str, entity_ids: Sequence[str]) -> None:
        self._delete("Entity", workspace_id, entity_ids)

    def delete_documents(self, workspace_id: str, document_ids: Sequence[str]) -> None:
        self._delete("Document", workspace_id, document_ids)

    def _delete(self, label: str, workspace_id: str, ids: Sequence[str]) -> None:
        def work(tx: _Transaction, some: Sequence[str]) -> None:
            tx.each(
                f"MATCH (n:{label} {{`~id`: row.key}}) WHERE n.workspace = $workspace DETACH DELETE n",
                [{"key": tx.key(label, id_)} for id_ in some],
                workspace=workspace_id,
            )

        for some in _batches(ids, _PASSAGES):
            self._transact(lambda tx, some=some: work(tx, some))  # type: ignore[misc]

    # --- Reading

    def co_mentioned(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> list[GraphNeighbour]:
        def work(tx: _Transaction) -> list[tuple[str, str, str, int]]:
            passages = self._mentioning(tx, workspace_id, entity_ids)
            best = sorted(passages, key=lambda id_: (-passages[id_], id_))[:_MAX_PASSAGES]
            return tx.all(
                "UNWIND $keys AS key MATCH (p:Passage {`~id`: key})-[:MENTIONS]->(o:Entity)"
                " WHERE p.workspace = $workspace RETURN o.id, o.name, o.kind, count(p)",
                keys=[tx.key("Passage", id_) for id_ in best], workspace=workspace_id,
            )  # fmt: skip

        asked = set(entity_ids)
        found = [(-count, id_, name, kind) for id_, name, kind, count in self._ask(work) if id_ not in asked]
        return [GraphNeighbour(Entity(id_, name, kind), -count) for count, id_, name, kind in sorted(found)[:limit]]

    def mentioning(self, workspace_id: str, entity_ids: Sequence[str], limit: int) -> list[tuple[str, int]]:
        counts = self._ask(lambda tx: self._mentioning(tx, workspace_id, entity_ids))
        best = sorted(counts, key=lambda id_: (-counts[id_], id_))[:limit]
        return [(id_, counts[id_]) for id_ in best]

    @staticmethod
    def _mentioning(tx: _Transaction, workspace_id: str, entity_ids: Sequence[str]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for entity_id in entity_ids:  # One by one, for a limit of each would be a subquery, which Neptune has not.
            rows = tx.all(
                "MATCH (e:Entity {`~id`: $key})<-[:MENTIONS]-(p:Passage) WHERE e.workspace = $workspace"
                f" RETURN p.id LIMIT {_MAX_PASSAGES}",
                key=tx.key("Entity", entity_id), workspace=workspace_id,
            )  # fmt: skip
            counts.update(id_ for (id_,) in rows)
        return counts

    def linked(self, workspace_id: str, document_ids: Sequence[str]) -> list[tuple[str, str]]:
        def work(tx: _Transaction) -> set[tuple[str, str]]:
            found: set[tuple[str, str]] = set()
            keys = [tx.key("Document", id_) for id_ in document_ids]
            for start in ("s", "t"):
                found.update(tx.all(
                    f"UNWIND $keys AS key MATCH ({start}:Document {{`~id`: key}}) WHERE {start}.workspace = $workspace"
                    " MATCH (s:Document)-[:LINKS]->(t:Document) RETURN s.id, t.id",
                    keys=keys, workspace=workspace_id,
                ))  # fmt: skip
            return found

        return sorted(self._ask(work)) if document_ids else []

    def node_ids(self, workspace_id: str, label: str) -> Iterator[str]:
        with self._reading() as tx:
            cypher = f"MATCH (n:{label}) WHERE n.workspace = $workspace AND n.generation = $generation RETURN n.id"
            for (id_,) in tx.stream(cypher, workspace=workspace_id, generation=tx.generation):
                yield id_

    def existing(self, workspace_id: str, label: str, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for some in _batches(ids, _ROWS):
            rows = self._transact(lambda tx, some=some: tx.all(  # type: ignore[misc]
                f"UNWIND $keys AS key MATCH (n:{label} {{`~id`: key}}) WHERE n.workspace = $workspace RETURN n.id",
                keys=[tx.key(label, id_) for id_ in some], workspace=workspace_id,
            ))  # fmt: skip
            found.update(id_ for (id_,) in rows)
        return found

    def facts(self, workspace_id: str, document_id: str | None = None) -> Iterator[GraphFact]:
        with self._reading() as tx:
            parameters = {"workspace": workspace_id}
            if document_id is None:
                parameters["generation"] = tx.generation
                start = "MATCH (d:Document) WHERE d.workspace = $workspace AND d.generation = $generation"
                entities = "MATCH (e:Entity) WHERE e.workspace = $workspace AND e.generation = $generation"
                for row in tx.stream(f"{entities} RETURN e.id, e.name, e.kind", **parameters):
                    yield ("", "entity", *row)
            else:
                parameters["key"] = tx.key("Document", document_id)
                start = "MATCH (d:Document {`~id`: $key}) WHERE d.workspace = $workspace"
            for kind, rest in (
                ("title", "RETURN d.id, d.title"),
                ("passage", "MATCH (d)-[:CONTAINS]->(p:Passage) RETURN d.id, p.id"),
                ("link", "MATCH (d)-[:LINKS]->(t:Document) RETURN d.id, t.id"),
                ("mention", "MATCH (d)-[:CONTAINS]->(p:Passage)-[:MENTIONS]->(e:Entity) RETURN d.id, p.id, e.id"),
            ):
                for document, *values in tx.stream(f"{start} {rest}", **parameters):
                    yield (document, kind, *values)

    def holds_anything(self) -> bool:
        return any(self._ask(lambda tx, label=label: tx.all(f"MATCH (n:{label}) RETURN n.id LIMIT 1"))  # type: ignore[misc]
                   for label in _LABELS)  # fmt: skip

    # --- The whole of it

    def rebuild(self, contents: GraphContents) -> None:
        fresh = uuid.uuid4().hex
        try:
            self._fill(fresh, contents)
            self._transact(lambda tx: tx.begin_generation(fresh))
        except BaseException:
            with suppress(PegasusError):  # The next rebuild sweeps, too.
                self._sweep()
            raise
        self._sweep()

    def _fill(self, generation: str, contents: GraphContents) -> None:
        for label, names, nodes in (
            ("Document", ("title",), contents.documents),
            ("Passage", (), contents.passages),
            ("Entity", ("name", "kind"), contents.entities),
        ):
            assigned = ", ".join(f"n.{name} = row.{name}" for name in ("id", "workspace", *names))
            self._fill_with(
                f"MERGE (n:{label} {{`~id`: row.key}}) ON CREATE SET n.generation = $generation, {assigned}",
                (dict(zip(("id", "workspace", *names), node, strict=True), key=_key(generation, label, node[0]))
                 for node in nodes),
                generation=generation,
            )  # fmt: skip
        for source, target, edge, pairs in (
            ("Document", "Passage", "(t)<-[:CONTAINS]-(s)", contents.contains),
            ("Passage", "Entity", "(s)-[:MENTIONS]->(t)", contents.mentions),
            ("Document", "Document", "(s)-[:LINKS]->(t)", contents.links),
        ):
            self._fill_with(
                f"MATCH (s:{source} {{`~id`: row.source}}) MATCH (t:{target} {{`~id`: row.target}}) MERGE {edge}",
                ({"source": _key(generation, source, a), "target": _key(generation, target, b)} for a, b in pairs),
            )

    def _fill_with(self, cypher: str, rows: Iterable[dict[str, str]], **parameters: str) -> None:
        for some in _batches(rows, _ROWS):
            self._transact(lambda tx, some=some: tx.each(cypher, some, **parameters))  # type: ignore[misc]

    def _sweep(self) -> None:
        """Delete the nodes of every generation but the one that is read."""
        for label in _LABELS:
            while stale := self._transact(lambda tx, label=label: tx.all(  # type: ignore[misc]
                f"MATCH (n:{label}) WHERE n.generation <> $generation RETURN n.generation, n.id LIMIT {_ROWS}",
                generation=tx.generation,
            )):  # fmt: skip
                keys = [{"key": _key(generation, label, id_)} for generation, id_ in stale]
                self._fill_with(f"MATCH (n:{label} {{`~id`: row.key}}) DETACH DELETE n", keys)

    def ping(self) -> None:
        self._ask(lambda tx: tx.all("RETURN 1"))

    def close(self) -> None:
        self._calls.close()
        _close(self._driver)


def _close(driver: Driver) -> None:
    """By itself the driver says goodbye on each connection, also in the middle of what a thread says there that hangs:
    its buffer is then held, or its words are mixed. So what is in use is cut off, and ends in its own thread."""
    for connections in list(driver._pool.connections.values()):
        for connection in list(connections):
            if connection.in_use:
                connection.kill()
    driver.close()


def _connect(address: str, auth: tuple[str, str] | AuthManager | None) -> Driver:
    from neo4j import GraphDatabase

    return GraphDatabase.driver(
        address,
        auth=auth,
        user_agent="Pegasus",
        connection_timeout=_CONNECT_SECONDS,
        connection_acquisition_timeout=_ACQUIRE_SECONDS,
        liveness_check_timeout=_IDLE_SECONDS,
        telemetry_disabled=True,
    )


class _Transaction:
    """Runs queries, and knows the generation that they are about."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._generation: str | None = None

    @property
    def generation(self) -> str:
        if self._generation is None:
            rows = self.all("MATCH (s:Pegasus {`~id`: 'pegasus'}) RETURN s.generation")
            self._generation = rows[0][0] if rows else _FIRST_GENERATION
        return self._generation

    def begin_generation(self, generation: str) -> None:
        self.all("MERGE (s:Pegasus {`~id`: 'pegasus'}) SET s.generation = $generation", generation=generation)

    def key(self, label: str, id_: str) -> str:
        return _key(self.generation, label, id_)

    def all(self, cypher: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return list(self.stream(cypher, **parameters))

    def stream(self, cypher: str, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        for record in self._transaction.run(cypher, parameters):
            yield tuple(record.values())

    def each(self, cypher: str, rows: Sequence[Mapping[str, str]], **parameters: Any) -> None:
        """A statement for each row, some thousand rows at a time."""
        for some in _batches(rows, _ROWS):
            self.all(f"UNWIND $rows AS row {cypher}", rows=some, **parameters)


def _key(generation: str, label: str, id_: str) -> str:
    return f"{generation}/{label}/{id_}"


def _passing(error: Exception) -> str:
    """Why a transaction may succeed when it is tried again: "conflict", "loss", or "" for no reason."""
    from neo4j.exceptions import ConstraintError, Neo4jError

    if isinstance(error, Neo4jError):
        # Two that merge the same node may both find it missing; the second is then refused by the constraint. Neptune
        # has a code of its own for transactions that met: docs.aws.amazon.com/neptune (Transaction semantics).
        met = isinstance(error, ConstraintError) or "ConcurrentModification" in f"{error.code} {error.message}"
        return "conflict" if met or error.is_retryable() else ""
    return "loss" if isinstance(error, OSError) or getattr(error, "is_retryable", bool)() else ""


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
