"""What each scope opens, tried on every call that the HTTP interface describes; what it does not say is closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Annotated, Any, cast

import httpx
import pytest
from calls import assert_problem
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from pegasus.access import service as access
from pegasus.access.scopes import Principal, Scope
from pegasus.api import create_api
from pegasus.application import Application
from pegasus.settings import Settings
from pegasus.web import Reader, principal

UNKNOWN = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"
ALL = list(Scope)
# Calls that only read although they are no GET, and those that only read and yet need more than "read".
READING_POSTS = ("POST /v1/search", "POST /v1/ask")
Unscoped = Annotated[Principal, Depends(principal)]


def described() -> FastAPI:
    return create_api(cast("Application", SimpleNamespace(settings=Settings.model_construct())))


def declared(api: FastAPI) -> dict[str, set[str]]:
    """Each call of the interface itself, with the scopes that its description asks for."""
    return {
        f"{method.upper()} {path}": {
            scope for way in operation.get("security", []) for scopes in way.values() for scope in scopes
        }
        for path, methods in api.openapi()["paths"].items()
        if path.startswith("/v1/")
        for method, operation in methods.items()
    }


CALLS = declared(described())
MATRIX = [(call, scope) for call in CALLS for scope in ALL]


def undeclared(api: FastAPI) -> list[str]:
    return [call for call, scopes in declared(api).items() if len(scopes) != 1 or not scopes <= set(ALL)]


def test_every_call_declares_one_scope() -> None:
    assert len(CALLS) >= 28
    assert undeclared(described()) == []


def without_a_scope() -> str:
    return "open to any key"


def with_one_word(caller: Reader) -> str:
    return caller.workspace_id


def test_a_call_that_declares_none_is_found() -> None:
    api = described()
    api.add_api_route("/v1/open", without_a_scope, methods=["GET"])
    api.add_api_route("/v1/declared", with_one_word, methods=["GET"])
    assert undeclared(api) == ["GET /v1/open"]


def routes_of(routes: Sequence[Any]) -> Iterator[Any]:
    for route in routes:
        router = getattr(route, "original_router", None)
        yield from routes_of(router.routes) if router else [route]


def test_no_call_is_left_out_of_the_description() -> None:
    paths = {route.path: route.include_in_schema for route in routes_of(described().routes)}
    assert {path for path, shown in paths.items() if path.startswith("/v1")} == {call.split()[1] for call in CALLS}
    assert [path for path, shown in paths.items() if not shown and path.startswith("/v1")] == []


def with_no_word(caller: Unscoped) -> str:
    return caller.workspace_id


def test_a_caller_without_a_scope_is_shut_out(application: Application, workspace_id: str) -> None:
    api = create_api(replace(application, stopping=threading.Event()))
    api.add_api_route("/v1/declared", with_one_word, methods=["GET"])
    api.add_api_route("/v1/undeclared", with_no_word, methods=["GET"])
    with application.relational.write() as tx:
        _, key = access.create_key(tx, workspace_id, "any", scope=Scope.OPERATOR)
    with TestClient(api, base_url="http://localhost", headers={"X-API-Key": key}) as client:
        assert client.get("/v1/declared").json() == workspace_id
        assert client.get("/v1/undeclared").status_code == 500


def test_changes_need_write_and_access_needs_more() -> None:
    for call, (scope,) in CALLS.items():
        method, path = call.split()
        if path.startswith("/v1/workspaces"):
            assert scope == Scope.OPERATOR, call
        elif path.startswith(("/v1/keys", "/v1/audit")):
            assert scope == Scope.ADMIN, call
        elif method != "GET" and call not in READING_POSTS:
            assert Scope(scope).covers(Scope.WRITE), call


def test_scopes_imply_those_before_them() -> None:
    for place, scope in enumerate(ALL):
        assert [other for other in ALL if scope.covers(other)] == ALL[: place + 1]


@pytest.fixture(scope="module")
def keys(application: Application, address: str) -> Iterator[dict[Scope, httpx.Client]]:
    with application.relational.write() as tx:
        workspace_id = access.create_workspace(tx, "scopes")
        made = {scope: access.create_key(tx, workspace_id, scope.value, scope=scope)[1] for scope in ALL}
    clients = {
        scope: httpx.Client(base_url=address, headers={"X-API-Key": key}, timeout=60) for scope, key in made.items()
    }
    yield clients
    for client in clients.values():
        client.close()


@pytest.mark.parametrize(("call", "scope"), MATRIX, ids=[f"{call} with {scope.value}" for call, scope in MATRIX])
def test_a_call_is_open_to_its_scope_and_those_above(keys: dict[Scope, Any], call: str, scope: Scope) -> None:
    method, path = call.split()
    for part in path.split("/"):
        if part.startswith("{"):
            path = path.replace(part, UNKNOWN)
    answer = keys[scope].request(method, path)
    (needed,) = CALLS[call]
    if scope.covers(Scope(needed)):
        assert answer.status_code in (200, 201, 202, 404, 409, 422), answer.text
    else:
        problem = assert_problem(answer, 403, "forbidden")
        assert needed in problem["detail"]
        assert scope.value in problem["detail"]
        assert f"--scope {needed}" in problem["hint"]


def test_what_is_forbidden_is_not_done(keys: dict[Scope, httpx.Client]) -> None:
    reader, admin = keys[Scope.READ], keys[Scope.ADMIN]
    body = {"text": "A reader's note about ospreys."}
    assert_problem(reader.post("/v1/documents", json=body), 403, "forbidden")
    batch = reader.post("/v1/documents/batch", content=b'{"text": "Ospreys"}\n')
    assert_problem(batch, 403, "forbidden")
    assert_problem(reader.post("/v1/documents", files={"file": ("a.txt", b"Ospreys")}), 403, "forbidden")
    assert admin.get("/v1/documents").json()["items"] == []


def test_a_key_may_read_what_another_wrote(keys: dict[Scope, httpx.Client]) -> None:
    added = keys[Scope.WRITE].post("/v1/documents", json={"text": "The tern nests on the northern island."})
    found = keys[Scope.READ].get(f"/v1/documents/{added.json()['document']['id']}/content")
    assert found.json()["text"] == "The tern nests on the northern island."
    keys[Scope.WRITE].delete(f"/v1/documents/{added.json()['document']['id']}")
