"""The description of the HTTP interface: complete, valid, and true about errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from pegasus.api import create_api
from pegasus.application import Application

Json = dict[str, Any]

ROUTES = [
    ("GET", "/health", 200),
    ("GET", "/ready", 200),
    ("POST", "/v1/documents", 202),
    ("POST", "/v1/documents/batch", 202),
    ("POST", "/v1/uploads", 201),
    ("GET", "/metrics", 200),
    ("GET", "/v1/usage", 200),
    ("GET", "/v1/documents", 200),
    ("GET", "/v1/documents/{document_id}", 200),
    ("GET", "/v1/documents/{document_id}/content", 200),
    ("DELETE", "/v1/documents/{document_id}", 202),
    ("POST", "/v1/search", 200),
    ("POST", "/v1/ask", 200),
    ("POST", "/v1/sessions", 201),
    ("GET", "/v1/sessions", 200),
    ("GET", "/v1/sessions/{session_id}", 200),
    ("DELETE", "/v1/sessions/{session_id}", 204),
    ("POST", "/v1/sessions/{session_id}/messages", 200),
    ("GET", "/v1/graph/entities", 200),
    ("GET", "/v1/graph/entities/{entity_id}/neighbours", 200),
    ("GET", "/v1/jobs", 200),
    ("GET", "/v1/jobs/{job_id}", 200),
    ("GET", "/v1/jobs/{job_id}/results", 200),
    ("GET", "/v1/jobs/{job_id}/events", 200),
    ("POST", "/v1/jobs/retry", 200),
    ("POST", "/v1/jobs/{job_id}/retry", 200),
    ("POST", "/v1/jobs/{job_id}/cancel", 200),
    ("GET", "/v1/sources", 200),
    ("POST", "/v1/sources", 201),
    ("GET", "/v1/sources/{source_id}", 200),
    ("DELETE", "/v1/sources/{source_id}", 202),
    ("POST", "/v1/sources/{source_id}/run", 202),
    ("GET", "/v1/sources/{source_id}/runs", 200),
    ("GET", "/v1/keys", 200),
    ("POST", "/v1/keys", 201),
    ("DELETE", "/v1/keys/{key_id}", 204),
    ("GET", "/v1/audit", 200),
    ("GET", "/v1/audit/chain", 200),
    ("POST", "/v1/workspaces", 201),
    ("GET", "/v1/workspaces", 200),
    ("DELETE", "/v1/workspaces/{workspace_id}", 202),
    ("GET", "/v1/integrity", 200),
    ("POST", "/v1/integrity/repair", 202),
    ("POST", "/v1/integrity/rebuild", 202),
    ("POST", "/v1/integrity/compact", 202),
    ("GET", "/v1/erasures", 200),
    ("GET", "/v1/erasures/{erasure_id}", 200),
]
EVERYBODYS = ("/health", "/ready", "/metrics")  # The last has a token of its own.
METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "trace")

# What OpenAPI 3.1 asks of the parts of a document; the forms of data are checked as JSON Schema 2020-12.
STRUCTURE: Json = {
    "type": "object",
    "required": ["openapi", "info", "paths"],
    "properties": {
        "openapi": {"pattern": r"^3\.1\.\d+$"},
        "info": {"required": ["title", "version"]},
        "paths": {"patternProperties": {"^/": {"$ref": "#/$defs/path"}}, "additionalProperties": False},
    },
    "$defs": {
        "path": {"properties": {method: {"$ref": "#/$defs/operation"} for method in METHODS}},
        "operation": {
            "required": ["responses", "operationId", "tags"],
            "properties": {
                "parameters": {"items": {"$ref": "#/$defs/parameter"}},
                "requestBody": {"required": ["content"], "properties": {"content": {"minProperties": 1}}},
                "responses": {
                    "minProperties": 1,
                    "patternProperties": {"^([1-5][0-9][0-9]|default)$": {"required": ["description"]}},
                    "additionalProperties": False,
                },
            },
        },
        "parameter": {
            "required": ["name", "in", "schema"],
            "properties": {"in": {"enum": ["query", "header", "path", "cookie"]}},
            "if": {"properties": {"in": {"const": "path"}}},
            "then": {"required": ["required"], "properties": {"required": {"const": True}}},
        },
    },
}


@pytest.fixture(scope="module")
def document(application: Application) -> Json:
    described: Json = create_api(application).openapi()
    return described


@pytest.fixture(scope="module")
def operations(document: Json) -> dict[str, Json]:
    """Each operation as "METHOD /path"."""
    return {f"{m.upper()} {path}": o for path, methods in document["paths"].items() for m, o in methods.items()}


def walk(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
def test_a_route_of_the_contract_has_its_method_and_success(
    operations: dict[str, Json], method: str, path: str, status: int
) -> None:
    successes = [int(code) for code in operations[f"{method} {path}"]["responses"] if code.startswith("2")]
    assert status in successes
    assert set(successes) - {status} <= {200}


def test_nothing_is_described_that_the_contract_does_not_know(operations: dict[str, Json]) -> None:
    assert set(operations) <= {f"{route[0]} {route[1]}" for route in ROUTES}


def test_the_structure_is_openapi_3_1(document: Json) -> None:
    jsonschema.Draft202012Validator(STRUCTURE).validate(document)
    ids = [o["operationId"] for o in walk(document["paths"]) if "operationId" in o]
    assert len(ids) == len(set(ids))


def test_every_form_is_valid_json_schema_and_every_reference_leads_somewhere(document: Json) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = {part["$ref"] for part in walk(document) if isinstance(part.get("$ref"), str)}
    assert references
    for reference in references:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_every_parameter_in_a_path_is_declared(document: Json) -> None:
    for path, methods in document["paths"].items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for operation in methods.values():
            assert {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"} == named, path


def test_every_operation_says_what_it_does(operations: dict[str, Json]) -> None:
    silent = [name for name, operation in operations.items() if not operation.get("description")]
    self_evident = [name for name in silent if name.startswith(("GET /v1/", "DELETE /v1/sessions"))]
    assert [name for name in silent if name not in self_evident] == []
    assert all(operations[name].get("summary") for name in self_evident)


def test_every_operation_but_the_probes_asks_for_a_key(document: Json, operations: dict[str, Json]) -> None:
    schemes = document["components"]["securitySchemes"]
    kinds = {(s["type"], s.get("name"), s.get("scheme")) for s in schemes.values()}
    assert kinds == {("apiKey", "X-API-Key", None), ("http", None, "bearer")}
    for name, operation in operations.items():
        # One alternative each: either will do.
        expected = [] if name.split()[1] in EVERYBODYS else sorted([scheme] for scheme in schemes)
        assert sorted(map(list, operation.get("security", []))) == expected, name


def test_every_error_is_a_problem(operations: dict[str, Json]) -> None:
    others = [
        f"{name} {status} {media_type}"
        for name, operation in operations.items()
        for status, response in operation["responses"].items()
        for media_type in response.get("content", {"none": {}})
        if status.startswith("4") and media_type != "application/problem+json"
    ]
    assert others == []


def test_every_operation_names_the_errors_that_all_can_have(operations: dict[str, Json]) -> None:
    for name, operation in operations.items():
        if name.split()[1] not in EVERYBODYS:
            assert {"401", "403", "429"} <= set(operation["responses"]), name
        if "{" in name:
            assert "404" in operation["responses"], name
        if "requestBody" in operation and name != "POST /v1/documents/batch":  # Its lines are refused one by one.
            assert "422" in operation["responses"], name


@pytest.mark.usefixtures("workspace_id")  # Without any the database would be taken for emptied.
@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
def test_nothing_is_answered_without_a_valid_key(address: str, method: str, path: str, status: int) -> None:
    url = address + re.sub(r"\{\w+\}", "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1", path)
    refused = 404 if path == "/metrics" else 401
    wanted = status if path in ("/health", "/ready") else refused
    assert httpx.request(method, url).status_code == wanted
    # A wrong key tells an address that has sent many of them only that.
    wrong = httpx.request(method, url, headers={"Authorization": "Bearer pgs_wrong"}).status_code
    assert wrong == wanted or (wrong, wanted) == (429, 401)


def test_every_request_has_an_example(document: Json, operations: dict[str, Json]) -> None:
    lacking = []
    for name, operation in operations.items():
        for media_type, content in operation.get("requestBody", {"content": {}})["content"].items():
            schema = content["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
            described = [content, schema, *schema.get("properties", {}).values()]
            if not any("example" in part or "examples" in part for part in described):
                lacking.append(f"{name} {media_type}")
    assert lacking == []


def test_examples_of_fields_fit_the_fields(document: Json) -> None:
    fields = [part for part in walk(document["components"]["schemas"]) if isinstance(part.get("examples"), list)]
    assert fields
    for described in fields:
        for example in described["examples"]:
            if "$ref" not in str(described):
                jsonschema.Draft202012Validator(described).validate(example)
