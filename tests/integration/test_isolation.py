"""Two workspaces in one Pegasus: whatever one has, the other cannot see, change or guess at."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from calls import add_text, assert_problem
from conftest import finished

from pegasus.access import service as access
from pegasus.access.scopes import Scope
from pegasus.adapters.postgres import PostgresTransaction
from pegasus.adapters.sqlite import SqliteTransaction
from pegasus.application import Application
from pegasus.client import Client

SECRET = "Zaphod Quillfeather keeps the amber casket under the ninth stair of Castle Morgenrot."
NOBODY = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"
BATCH = {"Content-Type": "application/x-ndjson"}
SOURCE = {"name": "casket", "origin": {"kind": "page", "url": "https://example.org/casket"}}


@dataclass
class Tenant:
    client: Client
    http: httpx.Client
    workspace_id: str
    ids: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def tenants(application: Application, address: str) -> Iterator[tuple[Tenant, Tenant]]:
    """One workspace with something of everything, and an empty one."""
    made = []
    for name in ("owner", "stranger"):
        with application.relational.write() as tx:
            workspace_id = access.create_workspace(tx, name)
            _, key = access.create_key(tx, workspace_id, name, scope=Scope.ADMIN)
        http = httpx.Client(base_url=address, headers={"X-API-Key": key}, timeout=60)
        made.append(Tenant(Client(address, key), http, workspace_id))
    owner, stranger = made
    fill(owner)
    yield owner, stranger
    for tenant in made:
        tenant.client.close()
        tenant.http.close()


def fill(owner: Tenant) -> None:
    added = add_text(owner.client, SECRET, title="Casket", uri="note://casket", tags=["hoard"])
    finished(owner.client, added["job"]["id"])
    batch = owner.http.post("/v1/documents/batch", content=b'{"text": "Batched casket."}', headers=BATCH).json()
    finished(owner.client, batch["job"]["id"])
    session = owner.client.call("POST", "/v1/sessions", json={"title": "casket"})
    owner.client.call("POST", f"/v1/sessions/{session['id']}/messages", json={"content": "Who keeps the casket?"})
    gone = add_text(owner.client, "A casket that was sold.", title="Sold casket")
    finished(owner.client, gone["job"]["id"])
    erasure = owner.client.call("DELETE", f"/v1/documents/{gone['document']['id']}")["job"]
    finished(owner.client, erasure["id"])
    owner.ids = {
        "erasure": erasure["id"],
        "document": added["document"]["id"],
        "job": added["job"]["id"],
        "batch": batch["job"]["id"],
        "session": session["id"],
        "source": owner.client.call("POST", "/v1/sources", json=SOURCE)["id"],
        "key": owner.client.call("GET", "/v1/keys")["items"][0]["id"],
        "entity": owner.client.call("GET", "/v1/graph/entities?q=zaphod")["items"][0]["id"],
    }
    # Also in the log, and with a digest of its own.
    owner.ids["head"] = owner.client.call("GET", "/v1/audit/chain")["head_sha256"]


BY_ID = [
    ("GET", "/v1/documents/{document}"),
    ("GET", "/v1/documents/{document}/content"),
    ("GET", "/v1/documents/{document}/content?version=1"),
    ("DELETE", "/v1/documents/{document}"),
    ("GET", "/v1/jobs/{job}"),
    ("GET", "/v1/jobs/{job}/events"),
    ("GET", "/v1/jobs/{job}/results"),
    ("GET", "/v1/jobs/{batch}/results"),
    ("POST", "/v1/jobs/{job}/retry"),
    ("POST", "/v1/jobs/{job}/cancel"),
    ("GET", "/v1/sessions/{session}"),
    ("DELETE", "/v1/sessions/{session}"),
    ("POST", "/v1/sessions/{session}/messages"),
    ("GET", "/v1/graph/entities/{entity}/neighbours"),
    ("GET", "/v1/graph/entities/{entity}/neighbours?depth=3"),
    ("GET", "/v1/sources/{source}"),
    ("GET", "/v1/sources/{source}/runs"),
    ("POST", "/v1/sources/{source}/run"),
    ("DELETE", "/v1/sources/{source}"),
    ("DELETE", "/v1/sources/{source}?documents=erase"),
    ("DELETE", "/v1/keys/{key}"),
    ("GET", "/v1/erasures/{erasure}"),
]


@pytest.mark.parametrize(("method", "path"), BY_ID)
def test_an_id_of_another_workspace_names_nothing(tenants: tuple[Tenant, Tenant], method: str, path: str) -> None:
    owner, stranger = tenants
    body = {"content": "Who keeps the casket?"} if path.endswith("messages") else None
    answer = stranger.http.request(method, path.format(**owner.ids), json=body)
    assert_problem(answer, 404, "not-found")
    assert "casket" not in answer.text.lower()


def test_every_path_with_an_id_is_tried_here(tenants: tuple[Tenant, Tenant]) -> None:
    paths = tenants[0].http.get("/openapi.json").json()["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods if "{" in path}
    tried = {(method, path.split("?")[0].replace("{batch}", "{job}")) for method, path in BY_ID}
    for kind in ("document", "job", "session", "entity", "source", "key", "erasure"):
        there = {(method, path.replace(f"{{{kind}_id}}", f"{{{kind}}}")) for method, path in there}
    # Of the operator's, and shut to both of these whatever the id: the next test.
    assert there - {("DELETE", "/v1/workspaces/{workspace_id}")} == tried


@pytest.mark.parametrize(
    "path",
    [
        "/v1/documents",
        "/v1/documents?tag=hoard",
        "/v1/documents?uri=note://casket",
        "/v1/jobs",
        "/v1/jobs?document_id={document}",
        "/v1/jobs?state=succeeded",
        "/v1/sessions",
        "/v1/erasures",
        "/v1/graph/entities",
        "/v1/graph/entities?q=zaphod",
        "/v1/audit?action=documents.imported",
        "/v1/sources",
        "/v1/sources?name=casket",
        "/v1/documents?cursor=ffffffff-ffff-7fff-bfff-ffffffffffff",
        "/v1/jobs?cursor=ffffffff-ffff-7fff-bfff-ffffffffffff",
    ],
)
def test_lists_have_only_what_is_ones_own(tenants: tuple[Tenant, Tenant], path: str) -> None:
    owner, stranger = tenants
    assert owner.http.get(path.format(**owner.ids)).json()["items"]
    assert stranger.http.get(path.format(**owner.ids)).json()["items"] == []


def test_what_was_done_in_another_workspace_is_not_told(tenants: tuple[Tenant, Tenant]) -> None:
    owner, stranger = tenants
    before = stranger.client.call("GET", "/v1/audit/chain")
    owner.client.call("DELETE", f"/v1/sessions/{owner.client.call('POST', '/v1/sessions', json={})['id']}")
    assert stranger.client.call("GET", "/v1/audit/chain") == before
    log = stranger.http.get("/v1/audit?limit=200").text
    assert not [name for name, id_ in owner.ids.items() if id_ in log]
    noted = stranger.client.call("GET", "/v1/audit/chain", params={"noted": owner.ids["head"]})
    assert noted["intact"] is False
    assert owner.client.call("GET", "/v1/audit/chain", params={"noted": owner.ids["head"]})["intact"] is True


def test_workspaces_are_not_told_to_those_who_have_only_one(tenants: tuple[Tenant, Tenant]) -> None:
    for tenant in tenants:
        assert_problem(tenant.http.get("/v1/workspaces"), 403, "forbidden")
        assert_problem(tenant.http.post("/v1/workspaces", json={"name": "mine"}), 403, "forbidden")
    for id_ in (tenants[0].workspace_id, NOBODY):
        assert_problem(tenants[1].http.delete(f"/v1/workspaces/{id_}"), 403, "forbidden")
    assert tenants[0].http.get("/v1/documents").json()["items"]


def test_limits_are_counted_for_each_key(tenants: tuple[Tenant, Tenant]) -> None:
    owner, stranger = (tenant.http for tenant in tenants)
    left = int(stranger.get("/v1/jobs").headers["ratelimit-remaining"])
    for _ in range(20):
        owner.get("/v1/jobs")
    # What came back meanwhile may make it more.
    assert int(stranger.get("/v1/jobs").headers["ratelimit-remaining"]) >= left - 1


@pytest.mark.parametrize(("method", "path"), BY_ID)
def test_an_id_of_another_workspace_costs_the_same_work_as_one_of_nobody(
    tenants: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """Whether something exists must not show in the time that the answer takes: the very same statements run, each
    as far as the same index leads it."""
    owner, stranger = tenants
    body = {"content": "Who keeps the casket?"} if path.endswith("messages") else None
    run: list[str] = []

    def noting(call: Callable) -> Callable:
        def noted(tx: Any, sql: str, *rest: Any) -> Any:
            if threading.current_thread().name.startswith("call-"):  # Not the workers
                run.append(sql)
            return call(tx, sql, *rest)

        return noted

    for kind in (SqliteTransaction, PostgresTransaction):
        for name in ("execute", "one", "all"):
            monkeypatch.setattr(kind, name, noting(getattr(kind, name)))
    statements = []
    for ids in (owner.ids, dict.fromkeys(owner.ids, NOBODY)):
        run.clear()
        answer = stranger.http.request(method, path.format(**ids), json=body)
        assert answer.status_code == 404
        # The key is looked up once a second, before anything is known of the id.
        statements.append([sql for sql in run if "last_used_at" not in sql and "key_sha256" not in sql])
    assert statements[0]
    assert statements[0] == statements[1]


def test_keys_of_another_workspace_are_not_listed(tenants: tuple[Tenant, Tenant]) -> None:
    owner, stranger = ({item["id"] for item in t.client.call("GET", "/v1/keys")["items"]} for t in tenants)
    assert owner
    assert not owner & stranger


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "semantic"])
@pytest.mark.parametrize("filters", [{}, {"tags": ["hoard"]}, {"since": "2020-01-01"}])
def test_search_finds_only_what_is_ones_own(tenants: tuple[Tenant, Tenant], mode: str, filters: dict) -> None:
    body = {"query": "Where does Zaphod Quillfeather keep the amber casket?", "mode": mode, **filters}
    found = [t.client.call("POST", "/v1/search", json=body)["passages"] for t in tenants]
    assert found[0]
    assert found[1] == []


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_an_answer_draws_only_on_what_is_ones_own(tenants: tuple[Tenant, Tenant], accept: str) -> None:
    body = {"question": "Where does Zaphod Quillfeather keep the amber casket?"}
    answers = [t.http.post("/v1/ask", json=body, headers={"Accept": accept}).text for t in tenants]
    assert "ninth stair" in answers[0]
    assert "ninth stair" not in answers[1]
    assert '"found":false' in answers[1].replace(" ", "")


def test_the_same_content_and_uri_are_two_documents(tenants: tuple[Tenant, Tenant]) -> None:
    owner, stranger = tenants
    mine = add_text(stranger.client, SECRET, uri="note://casket")
    try:
        assert mine["document"]["id"] != owner.ids["document"]
        assert (mine["document"]["version"], mine["document"]["tags"]) == (1, [])
        finished(stranger.client, mine["job"]["id"])
        around = stranger.client.call("GET", "/v1/graph/entities?q=zaphod")["items"][0]
        assert around["id"] != owner.ids["entity"]
        assert around["passages"] == 1
        found = stranger.client.call("GET", f"/v1/graph/entities/{around['id']}/neighbours")
        assert [d["id"] for d in found["documents"]] == [mine["document"]["id"]]
    finally:
        erased = stranger.client.call("DELETE", f"/v1/documents/{mine['document']['id']}")
        finished(stranger.client, erased["job"]["id"])
    # The owner's is untouched by the erasure of the stranger's, in every store.
    for mode in ("lexical", "semantic"):
        found = owner.client.call("POST", "/v1/search", json={"query": "amber casket", "mode": mode})["passages"]
        assert owner.ids["document"] in [p["document_id"] for p in found]
    documents = owner.client.call("GET", f"/v1/graph/entities/{owner.ids['entity']}/neighbours")["documents"]
    assert [d["id"] for d in documents] == [owner.ids["document"]]


@pytest.mark.parametrize(("path", "field"), [("/v1/documents", "text"), ("/v1/sessions", "title")])
def test_idempotency_keys_are_each_workspaces_own(tenants: tuple[Tenant, Tenant], path: str, field: str) -> None:
    headers = {"Idempotency-Key": f"shared-{field}"}
    first, second = (t.http.post(path, json={field: f"By {n}."}, headers=headers) for n, t in enumerate(tenants))
    assert first.status_code == second.status_code
    assert "By 0." not in second.text
    ids = [json.loads(answer.text).get("document", json.loads(answer.text))["id"] for answer in (first, second)]
    assert ids[0] != ids[1]
    for tenant, id_ in zip(tenants, ids, strict=True):
        tenant.http.delete(f"{path}/{id_}")
    for tenant in tenants:
        for job in tenant.client.call("GET", "/v1/jobs")["items"]:
            finished(tenant.client, job["id"])
