"""No query that the graph's server is ever asked holds what Neptune refuses; and what refuses it would notice."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

import pytest
from neptune import refusal

bolt = pytest.importorskip("pegasus.adapters.bolt")


def written() -> Iterator[tuple[str, str]]:
    """Each piece of a query in the adapter, with the function that it is in; what is put in at run time is a word."""
    for function in ast.walk(ast.parse(inspect.getsource(bolt))):
        if not isinstance(function, ast.FunctionDef):
            continue
        formed = [node for node in ast.walk(function) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for node in formed for part in node.values}
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                text = node.value
            elif isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else _put_in(part) for part in node.values
                )
            else:
                continue
            if re.search(r"\b(MATCH|MERGE|CREATE|RETURN|UNWIND|DELETE|SET)\b", text):
                yield function.name, text


def _put_in(part: ast.expr) -> str:
    name = ast.unparse(part)
    return str(getattr(bolt, found[0])) if (found := re.findall(r"_[A-Z_]+", name)) else "word"


def test_every_query_is_one_that_neptune_takes() -> None:
    queries = [(name, text) for name, text in written() if name != "_make_schema"]
    assert len(queries) > 25
    for name, text in queries:
        assert refusal(text, dict.fromkeys(re.findall(r"\$(\w+)", text), "")) is None, name


def test_the_schema_is_what_neptune_does_not_take() -> None:
    schema = [text for name, text in written() if name == "_make_schema"]
    assert len(schema) == 2
    assert all(refusal(text, {}) for text in schema)


@pytest.mark.parametrize("query", [
    "MATCH p = shortestPath((a)-[*..5]-(b)) RETURN p",
    "MATCH (n) WHERE any(x IN n.tags WHERE x = $t) RETURN n",
    "MATCH p = (a)-[*1..3]-(b) RETURN reduce(n = 0, x IN nodes(p) | n + 1)",
    "MATCH (n) WHERE exists((n)--()) RETURN n",
    "MATCH (n) RETURN n LIMIT $limit",
    "MATCH (n) RETURN n SKIP $skip LIMIT 10",
    "UNWIND $rows AS row CALL { WITH row MATCH (n) RETURN n LIMIT 5 } RETURN n",
    "CALL db.labels()",
    "CREATE CONSTRAINT IF NOT EXISTS FOR (n:P) REQUIRE n.id IS UNIQUE",
    "CREATE INDEX FOR (n:P) ON (n.id)",
    "SHOW INDEXES",
    "CREATE (n:P {tags: ['a', 'b']})",
    "MATCH (n) SET n.tags = ['a']",
    "MATCH (n) SET n += $map",
    "MATCH (n) SET n.`~id` = 'another'",
    "MATCH (n) SET n:Other",
    "MATCH (n) WHERE n.name =~ '.*' RETURN n",
    "MATCH (a)-[*]-(b) RETURN b",
    "MATCH (n) FOREACH (x IN [1] | SET n.a = x)",
    "MATCH (n) RETURN id(n)",
    "RETURN apoc.text.join(['a'], ',')",
    "MATCH (n) RETURN count { (n)--() }",
])  # fmt: skip
def test_what_neptune_refuses_is_noticed(query: str) -> None:
    assert refusal(query, {"map": {}, "t": ""})


def test_a_list_as_a_property_is_noticed_in_the_parameters() -> None:
    assert refusal("MATCH (n) SET n.tags = $tags", {"tags": ["a"]})
    assert refusal("UNWIND $rows AS row MERGE (n {`~id`: row.key}) SET n.tags = row.tags", {"rows": [{"tags": ["a"]}]})
