"""What Amazon Neptune refuses of openCypher, for the servers of the tests take more.

From docs.aws.amazon.com/neptune/latest/userguide: feature-opencypher-compliance, access-graph-opencypher-limitations,
access-graph-opencypher-extensions, migration-opencypher-rewrites. Read on 2026-11-23.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_REFUSED = {
    r"\b(all)?shortestPaths?\s*\(": "shortestPath",
    r"\b(reduce|any|all|none|single|exists)\s*\(": "functions over predicates",
    r"\b(skip|limit)\s+(?!\d+\b)": "a dynamic SKIP or LIMIT",
    r"\bcall\b": "CALL, be it a procedure or a subquery",
    r"\b(create|drop)\s+(constraint|index|unique|fulltext|lookup|vector)\b": "statements about the schema",
    r"\bshow\b": "SHOW",
    r"\bforeach\b": "FOREACH",
    r"\bmandatory\s+match\b": "MANDATORY MATCH",
    r"\bload\s+csv\b": "LOAD CSV",
    r"\b(apoc|db|dbms|gds)\s*\.": "procedures",
    r"=~": "regular expressions",
    r"\bunion\b": "UNION, which we have never tried there",
    r"\b(elementId|point|duration|randomUUID)\s*\(": "Neo4j's own functions",
    r"\bset\s+\w+\s*\+?=\s*\$": "maps as properties, which may hold lists",
    r"\bset\s+\w+\.`~id`": "another id for a node that is there",
    r"\{\s*\w+\s*:\s*\[": "lists as properties",
    r"\bset\b[^;]*?=\s*\[": "lists as properties",
    r"\*\s*\.\.\s*[\])]|\[[^\]]*\*\s*\]": "paths without a longest length",
    r"\bcount\s*\{|\bexists\s*\{|\bcollect\s*\{": "subqueries",
    r"\bset\s+\w+:|\bremove\s+\w+:": "other labels for a node that is there",
    r"(?<!\w)id\s*\(": "id(), which is a number in Neo4j",
    r";": "several statements",
}


def refusal(cypher: str, parameters: Mapping[str, Any]) -> str | None:
    """Why Neptune would not run it; None when it would."""
    for pattern, what in _REFUSED.items():
        if re.search(pattern, cypher, re.IGNORECASE):
            return f"{what}: {cypher}"
    for name in re.findall(r"\bset\b(.*)", cypher, re.IGNORECASE | re.DOTALL):
        for used in re.findall(r"=\s*\$(\w+)", name):
            if isinstance(parameters[used], (list, dict)):
                return f"a list or map as a property: {cypher}"
    for row in parameters.get("rows", ()):
        if bad := [value for value in row.values() if not isinstance(value, str)]:
            return f"{bad[0]!r} as a property: {cypher}"
    return None


def watched(stream: Any) -> Any:
    """``stream`` of the adapter's transactions, refusing what Neptune refuses."""

    def refusing(transaction: Any, cypher: str, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        reason = refusal(cypher, parameters)
        assert reason is None, f"Neptune refuses {reason}"
        yield from stream(transaction, cypher, **parameters)

    return refusing
