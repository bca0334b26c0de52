"""API keys over HTTP: shown once, listed without themselves, revoked at once, never more than their giver's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from calls import assert_problem, walk

from pegasus.access import service as access
from pegasus.access.scopes import Scope
from pegasus.application import Application
from pegasus.client import Client
from pegasus.domain import Rate


def test_a_new_key_opens_the_same_workspace_until_it_is_revoked(http: httpx.Client, address: str) -> None:
    http.post("/v1/documents", json={"text": "Shared."})
    answer = http.post("/v1/keys", json={"name": "phone"})
    assert answer.status_code == 201
    headers = {"X-API-Key": answer.json()["key"]}
    assert len(httpx.get(f"{address}/v1/documents", headers=headers).json()["items"]) == 1
    assert http.delete(f"/v1/keys/{answer.json()['id']}").status_code == 204
    assert_problem(httpx.get(f"{address}/v1/documents", headers=headers), 401, "unauthorized")


def test_a_key_is_shown_only_once(http: httpx.Client) -> None:
    created = http.post("/v1/keys", json={"name": "phone"}).json()
    listed = http.get("/v1/keys")
    assert created["key"] not in listed.text
    item = next(item for item in listed.json()["items"] if item["id"] == created["id"])
    assert (item["name"], item["revoked_at"], "key" in item) == ("phone", None, False)
    assert created["key"].startswith(item["hint"])
    assert len(item["hint"]) <= 10


def test_a_revoked_key_stays_listed_and_cannot_be_revoked_again(http: httpx.Client) -> None:
    id_ = http.post("/v1/keys", json={"name": "phone"}).json()["id"]
    http.delete(f"/v1/keys/{id_}")
    (item,) = [item for item in http.get("/v1/keys").json()["items"] if item["id"] == id_]
    assert item["revoked_at"]
    assert_problem(http.delete(f"/v1/keys/{id_}"), 404, "not-found")


def test_use_of_a_key_is_noted(http: httpx.Client, address: str) -> None:
    created = http.post("/v1/keys", json={"name": "phone"}).json()
    assert created["last_used_at"] is None
    httpx.get(f"{address}/v1/documents", headers={"X-API-Key": created["key"]})
    (item,) = [item for item in http.get("/v1/keys").json()["items"] if item["id"] == created["id"]]
    assert item["last_used_at"]


def test_keys_are_listed_once_newest_first(client: Client) -> None:
    before = walk(client, "/v1/keys")
    ids = [client.call("POST", "/v1/keys", json={"name": f"K{n}"})["id"] for n in range(4)]
    assert walk(client, "/v1/keys") == ids[::-1] + before


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, None, 5])
def test_a_key_without_a_proper_name_is_a_422(http: httpx.Client, name: object) -> None:
    assert_problem(http.post("/v1/keys", json={"name": name}), 422, "invalid")


class TestExpiry:
    def test_a_key_opens_until_its_time_and_no_longer(
        self, http: httpx.Client, address: str, application: Application
    ) -> None:
        created = http.post("/v1/keys", json={"name": "guest", "expires_in_days": 1}).json()
        headers = {"X-API-Key": created["key"]}
        assert httpx.get(f"{address}/v1/documents", headers=headers).status_code == 200
        with application.relational.write() as tx:
            past = {"past": time.time() - 1, "id": created["id"]}
            tx.execute("UPDATE api_keys SET expires_at = :past WHERE id = :id", past)
        application.doorkeeper.forget()  # Keys do not change their end by themselves.
        refused = httpx.get(f"{address}/v1/documents", headers=headers)
        unknown = httpx.get(f"{address}/v1/documents", headers={"X-API-Key": "pgs_unknown"})
        assert_problem(refused, 401, "unauthorized")
        assert refused.json() == unknown.json()

    def test_an_expired_key_is_refused_before_the_body_is_read(
        self, address: str, application: Application, workspace_id: str
    ) -> None:
        with application.relational.write() as tx:
            key, secret = access.create_key(tx, workspace_id, "guest", expires_at=time.time() + 60)
            tx.execute("UPDATE api_keys SET expires_at = 1 WHERE id = :id", {"id": key.id})
        answer = httpx.post(f"{address}/v1/documents", content=b"{", headers={"X-API-Key": secret})
        assert_problem(answer, 401, "unauthorized")

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"expires_at": "2099-01-31"}, "2099-01-31T00:00:00Z"),
            ({"expires_at": "2099-01-31T12:00:00+02:00"}, "2099-01-31T10:00:00Z"),
            ({}, None),
        ],
    )
    def test_it_is_listed(self, http: httpx.Client, given: dict, expected: str | None) -> None:
        created = http.post("/v1/keys", json={"name": "guest", **given}).json()
        (item,) = [item for item in http.get("/v1/keys").json()["items"] if item["id"] == created["id"]]
        assert item["expires_at"] == created["expires_at"] == expected

    @pytest.mark.parametrize(
        "given",
        [
            {"expires_at": "2001-01-31"},
            {"expires_in_days": 0},
            {"expires_in_days": 10**9},
            {"expires_in_days": 1, "expires_at": "2099-01-31"},
            {"expires_at": "soon"},
            {"rate_limit": "often"},
            {"rate_limit": "0/minute"},
            {"max_body_bytes": 0},
            {"max_body_bytes": 10**30},
            {"scope": "root"},
            {"scope": ["read"]},
        ],
    )
    def test_what_makes_no_sense_is_a_422(self, http: httpx.Client, given: dict) -> None:
        assert_problem(http.post("/v1/keys", json={"name": "guest", **given}), 422, "invalid")


class TestNobodyGivesMoreThanTheyHave:
    @pytest.fixture
    def admin(self, application: Application, address: str, workspace_id: str) -> Iterator[httpx.Client]:
        """A key of the workspace that expires in a while, with limits of its own."""
        with application.relational.write() as tx:
            _, key = access.create_key(
                tx, workspace_id, "admin",
                scope=Scope.ADMIN, expires_at=time.time() + 86_400, rate_limit=Rate(60, "minute"), max_body_bytes=9_000,
            )  # fmt: skip
        with httpx.Client(base_url=address, headers={"X-API-Key": key}) as made:
            yield made

    def test_a_new_key_writes_unless_told_otherwise(self, http: httpx.Client) -> None:
        assert http.post("/v1/keys", json={"name": "app"}).json()["scope"] == "write"

    @pytest.mark.parametrize("scope", ["read", "write", "admin"])
    def test_a_scope_up_to_ones_own_may_be_given(self, admin: httpx.Client, scope: str) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        answer = admin.post("/v1/keys", json={"name": "app", "scope": scope, "expires_at": soon})
        assert (answer.status_code, answer.json()["scope"]) == (201, scope)

    @pytest.mark.parametrize(
        "more",
        [
            {"scope": "operator"},
            {"expires_in_days": 2},
            {"expires_at": None},
            {"rate_limit": "61/minute"},
            {"rate_limit": "600/hour"},
        ],
    )
    def test_more_is_forbidden(self, admin: httpx.Client, more: dict) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        body = {"name": "app", "expires_at": soon, **more}
        if "expires_in_days" in more:
            del body["expires_at"]
        before = admin.get("/v1/keys").json()["items"]
        assert assert_problem(admin.post("/v1/keys", json=body), 403, "forbidden")["hint"]
        assert [key["id"] for key in admin.get("/v1/keys").json()["items"]] == [key["id"] for key in before]

    def test_limits_that_are_not_said_are_the_givers(self, admin: httpx.Client) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        plain = admin.post("/v1/keys", json={"name": "app", "expires_at": soon}).json()
        lower = {"rate_limit": "1/minute", "max_body_bytes": 10}
        lowered = admin.post("/v1/keys", json={"name": "app", "expires_at": soon, **lower}).json()
        raised = admin.post("/v1/keys", json={"name": "app", "expires_at": soon, "max_body_bytes": 10_000}).json()
        assert (plain["rate_limit"], plain["max_body_bytes"]) == ("60/minute", 9_000)
        assert (lowered["rate_limit"], lowered["max_body_bytes"]) == ("1/minute", 10)
        assert raised["max_body_bytes"] == 9_000

    def test_an_operator_gives_any_limit(self, http: httpx.Client) -> None:
        body = {"name": "app", "rate_limit": "9000/second", "max_body_bytes": 2**40}
        created = http.post("/v1/keys", json=body).json()
        assert (created["rate_limit"], created["max_body_bytes"]) == ("9000/second", 2**40)

    def test_a_key_of_more_cannot_be_revoked(self, http: httpx.Client, admin: httpx.Client, address: str) -> None:
        operator = http.post("/v1/keys", json={"name": "boss", "scope": "operator"}).json()
        assert_problem(admin.delete(f"/v1/keys/{operator['id']}"), 403, "forbidden")
        assert httpx.get(f"{address}/v1/keys", headers={"X-API-Key": operator["key"]}).status_code == 200
        assert http.delete(f"/v1/keys/{operator['id']}").status_code == 204
