"""API keys over HTTP: shown once, listed without themselves, revoked at once."""

from __future__ import annotations

import httpx
import pytest
from calls import assert_problem, walk

from pegasus.client import Client


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
