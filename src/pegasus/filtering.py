"""The filters of a search in SQL: one meaning for words and for meaning, on every database."""

from __future__ import annotations

from pegasus.domain import Filters


def passages_of(column: str, workspace_id: str, filters: Filters) -> tuple[str, dict[str, object]]:
    """A query for a column of the passages whose documents have any of the tags and were created within the times, and
    its parameters."""
    clauses = ["d.workspace_id = :workspace_id"]
    parameters: dict[str, object] = {"workspace_id": workspace_id}
    if filters.tags:
        names = [f"tag{n}" for n in range(len(filters.tags))]
        parameters.update(zip(names, filters.tags, strict=True))
        marks = ", ".join(f":{name}" for name in names)
        clauses.append(
            f"d.id IN (SELECT document_id FROM document_tags WHERE workspace_id = :workspace_id AND tag IN ({marks}))"
        )
    if filters.since is not None:
        clauses.append("d.created_at >= :since")
        parameters["since"] = filters.since
    if filters.until is not None:
        clauses.append("d.created_at < :until")
        parameters["until"] = filters.until
    where = " AND ".join(clauses)
    return f"SELECT f.{column} FROM passages f JOIN documents d ON d.id = f.document_id WHERE {where}", parameters
