"""The rows of sources, of what was found at them, and of their runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pegasus.domain import Source, SourceRun
from pegasus.ports import FoundItem, Row, Transaction

# What a complete listing of the run did not name, or what was gone when it was opened.
_MISSING = "(seen_run <> :run OR state = 'missing')"


@dataclass(frozen=True, slots=True)
class Item:
    """What is remembered of one thing at a source."""

    source_id: str
    key: str
    workspace_id: str
    uri: str
    token: str | None
    found_token: str | None
    document_id: str | None
    brought: bool  # whether a source made the document, so that a source may erase it


def _source_from(row: Row) -> Source:
    return Source(
        id=row["id"],
        workspace_id=row["workspace_id"],
        name=row["name"],
        kind=row["kind"],
        origin=json.loads(row["origin"]),
        tags=tuple(json.loads(row["tags"])),
        every_seconds=row["every_seconds"],
        created_at=row["created_at"],
        next_run_at=row["next_run_at"],
        removing=bool(row["removing"]),
        job_id=row["job_id"],
        listing_token=row["listing_token"],
    )


def _item_from(row: Row) -> Item:
    return Item(
        row["source_id"], row["item_key"], row["workspace_id"], row["uri"], row["token"], row["found_token"],
        row["document_id"], bool(row["brought"]),
    )  # fmt: skip


def _run_from(row: Row) -> SourceRun:
    return SourceRun(
        row["id"], row["source_id"], bool(row["complete"]), row["listing_token"], row["created"], row["updated"],
        row["unchanged"], row["erased"], row["held"],
    )  # fmt: skip


def insert(tx: Transaction, source: Source) -> bool:
    """False when the name is taken."""
    return tx.execute(
        "INSERT INTO sources (id, workspace_id, name, kind, origin, tags, every_seconds, next_run_at, removing,"
        " created_at) VALUES (:id, :workspace_id, :name, :kind, :origin, :tags, :every_seconds, :next_run_at, 0,"
        " :created_at) ON CONFLICT (workspace_id, name) DO NOTHING",
        {
            "id": source.id,
            "workspace_id": source.workspace_id,
            "name": source.name,
            "kind": source.kind,
            "origin": json.dumps(source.origin),
            "tags": json.dumps(source.tags),
            "every_seconds": source.every_seconds,
            "next_run_at": source.next_run_at,
            "created_at": source.created_at,
        },
    ) == 1  # fmt: skip


def get(tx: Transaction, workspace_id: str, source_id: str) -> Source | None:
    row = tx.one("SELECT * FROM sources WHERE id = :id AND workspace_id = :w", {"id": source_id, "w": workspace_id})
    return _source_from(row) if row else None


def list_page(tx: Transaction, workspace_id: str, name: str | None, cursor: str | None, limit: int) -> Sequence[Source]:
    """Newest first."""
    rows = tx.all(
        "SELECT * FROM sources WHERE workspace_id = :w AND (:name IS NULL OR name = :name)"
        " AND (:cursor IS NULL OR id < :cursor) ORDER BY id DESC LIMIT :limit",
        {"w": workspace_id, "name": name, "cursor": cursor, "limit": limit},
    )
    return [_source_from(row) for row in rows]


def due(tx: Transaction, now: float) -> Sequence[Source]:
    """Sources whose time has come; also such as a clock that was set back would keep waiting longer than they ask."""
    rows = tx.all(
        "SELECT * FROM sources WHERE next_run_at IS NOT NULL AND removing = 0"
        " AND (next_run_at <= :now OR next_run_at > :now + every_seconds) ORDER BY next_run_at",
        {"now": now},
    )
    return [_source_from(row) for row in rows]


def clear_schedules(tx: Transaction, workspace_id: str) -> None:
    tx.execute("UPDATE sources SET next_run_at = NULL WHERE workspace_id = :w", {"w": workspace_id})


def set_job(tx: Transaction, source_id: str, job_id: str, next_run_at: float | None) -> None:
    tx.execute(
        "UPDATE sources SET job_id = :job, next_run_at = :next WHERE id = :id",
        {"id": source_id, "job": job_id, "next": next_run_at},
    )


def set_removing(tx: Transaction, source_id: str, job_id: str) -> None:
    tx.execute(
        "UPDATE sources SET job_id = :job, removing = 1, next_run_at = NULL WHERE id = :id",
        {"id": source_id, "job": job_id},
    )


def set_listing_token(tx: Transaction, source_id: str, token: str | None) -> None:
    tx.execute("UPDATE sources SET listing_token = :token WHERE id = :id", {"id": source_id, "token": token})


def delete(tx: Transaction, source_id: str) -> None:
    for table, column in (("source_items", "source_id"), ("source_runs", "source_id"), ("sources", "id")):
        tx.execute(f"DELETE FROM {table} WHERE {column} = :id", {"id": source_id})


def insert_run(tx: Transaction, run_id: str, source_id: str) -> None:
    tx.execute(
        "INSERT INTO source_runs (id, source_id, complete, created, updated, unchanged, erased, held)"
        " VALUES (:id, :source_id, 0, 0, 0, 0, 0, 0)",
        {"id": run_id, "source_id": source_id},
    )


def get_run(tx: Transaction, run_id: str) -> SourceRun | None:
    row = tx.one("SELECT * FROM source_runs WHERE id = :id", {"id": run_id})
    return _run_from(row) if row else None


def list_runs(tx: Transaction, source_id: str, cursor: str | None, limit: int) -> Sequence[SourceRun]:
    """Newest first."""
    rows = tx.all(
        "SELECT * FROM source_runs WHERE source_id = :id AND (:cursor IS NULL OR id < :cursor)"
        " ORDER BY id DESC LIMIT :limit",
        {"id": source_id, "cursor": cursor, "limit": limit},
    )
    return [_run_from(row) for row in rows]


def set_listed(tx: Transaction, run_id: str, *, complete: bool, listing_token: str | None, unchanged: int) -> None:
    tx.execute(
        "UPDATE source_runs SET complete = :complete, listing_token = :token, unchanged = :unchanged WHERE id = :id",
        {"id": run_id, "complete": int(complete), "token": listing_token, "unchanged": unchanged},
    )


def count(tx: Transaction, run_id: str, outcome: str) -> None:
    """One more of "created", "updated", "unchanged" or "erased"."""
    tx.execute(f"UPDATE source_runs SET {outcome} = {outcome} + 1 WHERE id = :id", {"id": run_id})


def has_held(tx: Transaction, source_id: str, run_id: str) -> bool:
    """Whether an earlier run has held back the erasure of what is still missing."""
    row = tx.one(
        f"SELECT 1 FROM source_items WHERE source_id = :id AND held = 1 AND {_MISSING}",
        {"id": source_id, "run": run_id},
    )
    return row is not None


def set_held(tx: Transaction, source_id: str, run_id: str, held: int) -> None:
    tx.execute("UPDATE source_runs SET held = :held WHERE id = :id", {"id": run_id, "held": held})
    if held:
        tx.execute(
            f"UPDATE source_items SET held = 1 WHERE source_id = :id AND {_MISSING}", {"id": source_id, "run": run_id}
        )


def seen_in(tx: Transaction, source_id: str, run_id: str, keys: Sequence[str]) -> set[str]:
    """Those of the keys that this run has noted already."""
    found = set()
    for key in keys:
        row = tx.one(
            "SELECT 1 FROM source_items WHERE source_id = :id AND item_key = :key AND seen_run = :run",
            {"id": source_id, "key": key, "run": run_id},
        )
        if row:
            found.add(key)
    return found


def note_found(tx: Transaction, source: Source, run_id: str, items: Sequence[FoundItem]) -> None:
    """Remember what a listing names: to be read, unless its token is that of what was read before."""
    tx.execute_many(
        "INSERT INTO source_items (source_id, item_key, workspace_id, uri, state, found_token, brought, held,"
        " first_run, seen_run) VALUES (:source_id, :key, :w, :uri, 'pending', :token, 0, 0, :run, :run)"
        " ON CONFLICT (source_id, item_key) DO UPDATE SET uri = excluded.uri, found_token = excluded.found_token,"
        " seen_run = excluded.seen_run, state = CASE WHEN source_items.state = 'present'"
        " AND source_items.token = excluded.found_token THEN 'present' ELSE 'pending' END,"
        " held = CASE WHEN source_items.state = 'present' AND source_items.token = excluded.found_token THEN 0"
        " ELSE source_items.held END"
        # A listing that is begun again must not undo what its first try led to.
        " WHERE source_items.seen_run <> excluded.seen_run",
        [
            {
                "source_id": source.id,
                "key": item.key,
                "w": source.workspace_id,
                "uri": item.uri,
                "token": item.token,
                "run": run_id,
            }
            for item in items
        ],
    )


def note_all_seen(tx: Transaction, source_id: str, run_id: str) -> None:
    """A source that says that nothing has changed has everything that it had."""
    tx.execute("UPDATE source_items SET seen_run = :run WHERE source_id = :id", {"id": source_id, "run": run_id})


def count_in_state(tx: Transaction, source_id: str, run_id: str, state: str) -> int:
    row = tx.one(
        "SELECT count(*) AS n FROM source_items WHERE source_id = :id AND seen_run = :run AND state = :state",
        {"id": source_id, "run": run_id, "state": state},
    )
    return row["n"] if row else 0


def pending(tx: Transaction, source_id: str, limit: int) -> Sequence[Item]:
    rows = tx.all(
        "SELECT * FROM source_items WHERE source_id = :id AND state = 'pending' ORDER BY item_key LIMIT :limit",
        {"id": source_id, "limit": limit},
    )
    return [_item_from(row) for row in rows]


def set_state(tx: Transaction, item: Item, state: str) -> None:
    tx.execute(
        "UPDATE source_items SET state = :state, held = CASE WHEN :state = 'present' THEN 0 ELSE held END"
        " WHERE source_id = :id AND item_key = :key",
        {"state": state, "id": item.source_id, "key": item.key},
    )


def set_failed(tx: Transaction, source_id: str, key: str) -> None:
    tx.execute(
        "UPDATE source_items SET state = 'failed' WHERE source_id = :id AND item_key = :key",
        {"id": source_id, "key": key},
    )


def set_read(tx: Transaction, item: Item, run_id: str, *, token: str | None, document_id: str, brought: bool) -> None:
    tx.execute(
        "UPDATE source_items SET state = 'present', token = :token, document_id = :document_id, brought = :brought,"
        " held = 0, read_run = :run WHERE source_id = :id AND item_key = :key",
        {
            "token": token,
            "document_id": document_id,
            "brought": int(brought),
            "run": run_id,
            "id": item.source_id,
            "key": item.key,
        },
    )


def read_again(tx: Transaction, source_id: str, run_id: str) -> None:
    """Forget the tokens of what a run has read, so that the next one reads it once more."""
    tx.execute(
        "UPDATE source_items SET token = NULL WHERE source_id = :id AND read_run = :run",
        {"id": source_id, "run": run_id},
    )


def missing(tx: Transaction, source_id: str, run_id: str, limit: int) -> Sequence[Item]:
    rows = tx.all(
        f"SELECT * FROM source_items WHERE source_id = :id AND {_MISSING} ORDER BY item_key LIMIT :limit",
        {"id": source_id, "run": run_id, "limit": limit},
    )
    return [_item_from(row) for row in rows]


def items(tx: Transaction, source_id: str, limit: int) -> Sequence[Item]:
    rows = tx.all(
        "SELECT * FROM source_items WHERE source_id = :id ORDER BY item_key LIMIT :limit",
        {"id": source_id, "limit": limit},
    )
    return [_item_from(row) for row in rows]


def count_doomed(tx: Transaction, source_id: str, run_id: str) -> int:
    """Documents of sources that nothing but missing items of this source names."""
    row = tx.one(
        "SELECT count(DISTINCT document_id) AS n FROM source_items WHERE source_id = :id AND brought = 1"
        f" AND document_id IS NOT NULL AND {_MISSING} AND document_id NOT IN (SELECT o.document_id FROM source_items o"
        " WHERE o.document_id IS NOT NULL AND NOT (o.source_id = :id AND (o.seen_run <> :run OR o.state = 'missing')))",
        {"id": source_id, "run": run_id},
    )
    return row["n"] if row else 0


def count_kept(tx: Transaction, source_id: str, run_id: str) -> int:
    """Items that were known before this run and are still there."""
    row = tx.one(
        "SELECT count(*) AS n FROM source_items WHERE source_id = :id AND seen_run = :run AND state <> 'missing'"
        " AND first_run <> :run AND document_id IS NOT NULL",
        {"id": source_id, "run": run_id},
    )
    return row["n"] if row else 0


def count_documents(tx: Transaction, source_id: str) -> int:
    row = tx.one("SELECT count(DISTINCT document_id) AS n FROM source_items WHERE source_id = :id", {"id": source_id})
    return row["n"] if row else 0


def delete_item(tx: Transaction, item: Item) -> None:
    tx.execute(
        "DELETE FROM source_items WHERE source_id = :id AND item_key = :key", {"id": item.source_id, "key": item.key}
    )


def has_uri(tx: Transaction, workspace_id: str, uri: str) -> bool:
    row = tx.one("SELECT 1 FROM source_items WHERE workspace_id = :w AND uri = :uri", {"w": workspace_id, "uri": uri})
    return row is not None


def has_document(tx: Transaction, document_id: str) -> bool:
    return tx.one("SELECT 1 FROM source_items WHERE document_id = :id", {"id": document_id}) is not None


def has_brought(tx: Transaction, document_id: str) -> bool:
    row = tx.one("SELECT 1 FROM source_items WHERE document_id = :id AND brought = 1", {"id": document_id})
    return row is not None


def forget_document(tx: Transaction, workspace_id: str, document_id: str) -> None:
    tx.execute(
        "UPDATE source_items SET document_id = NULL, brought = 0 WHERE workspace_id = :w AND document_id = :id",
        {"w": workspace_id, "id": document_id},
    )
