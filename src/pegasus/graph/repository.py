"""Entities as rows, for finding them by name."""

from __future__ import annotations

from pegasus.domain import Entity
from pegasus.patterns import containing
from pegasus.ports import Transaction


def find_entities(tx: Transaction, workspace_id: str, query: str, limit: int) -> list[tuple[Entity, int]]:
    rows = tx.all(
        "SELECT e.id, e.name, e.kind, count(m.passage_id) AS passages FROM entities e"
        " LEFT JOIN mentions m ON m.entity_id = e.id WHERE e.workspace_id = :w"
        " AND (e.key LIKE :pattern ESCAPE '\\' OR lower(e.name) LIKE :pattern ESCAPE '\\')"
        " GROUP BY e.id, e.name, e.kind ORDER BY passages DESC, e.id LIMIT :limit",
        {"w": workspace_id, "pattern": containing(" ".join(query.split()).casefold()), "limit": limit},
    )
    return [(Entity(row["id"], row["name"], row["kind"]), row["passages"]) for row in rows]


def get_entity(tx: Transaction, workspace_id: str, entity_id: str) -> Entity | None:
    row = tx.one("SELECT * FROM entities WHERE id = :id AND workspace_id = :w", {"id": entity_id, "w": workspace_id})
    return Entity(row["id"], row["name"], row["kind"]) if row else None
