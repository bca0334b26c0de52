"""Workspaces over HTTP: made by who runs the installation, opened by a key that is shown once."""

from __future__ import annotations

import httpx
import pytest
from calls import assert_problem, walk

from pegasus.client import Client


def test_a_new_one_is_empty_and_opened_by_its_key(http: httpx.Client, address: str) -> None:
    http.post("/v1/documents", json={"text": "Of the first workspace."})
    answer = http.post("/v1/workspaces", json={"name": "  family "})
    assert answer.status_code == 201
    made = answer.json()
    assert made["workspace"]["name"] == "family"
    assert made["key"]["scope"] == "admin"
    headers = {"X-API-Key": made["key"]["key"]}
    assert httpx.get(f"{address}/v1/documents", headers=headers).json()["items"] == []
    assert len(httpx.get(f"{address}/v1/keys", headers=headers).json()["items"]) == 1
    assert httpx.get(f"{address}/v1/workspaces", headers=headers).status_code == 403


def test_its_key_is_shown_only_once(http: httpx.Client) -> None:
    made = http.post("/v1/workspaces", json={"name": "club"}).json()
    listed = http.get("/v1/workspaces")
    assert made["key"]["key"] not in listed.text
    assert made["workspace"] in listed.json()["items"]


def test_they_are_listed_once_newest_first(client: Client) -> None:
    ids = [client.call("POST", "/v1/workspaces", json={"name": f"W{n}"})["workspace"]["id"] for n in range(3)]
    found = walk(client, "/v1/workspaces")
    assert found[:3] == ids[::-1]
    assert len(found) == len(set(found))


def test_making_one_is_noted_in_both(http: httpx.Client, client: Client, address: str) -> None:
    made = http.post("/v1/workspaces", json={"name": "club"}).json()
    (event,) = client.call("GET", "/v1/audit", params={"action": "workspace.created"})["items"]
    assert event["subject_id"] == made["workspace"]["id"]
    theirs = httpx.get(f"{address}/v1/audit", headers={"X-API-Key": made["key"]["key"]}).json()["items"]
    assert [(e["action"], e["subject_id"], e["key_id"]) for e in theirs] == [
        ("key.created", made["key"]["id"], event["key_id"])
    ]


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, None, 5, "a\0b"])
def test_one_without_a_proper_name_is_a_422(http: httpx.Client, name: object) -> None:
    assert_problem(http.post("/v1/workspaces", json={"name": name}), 422, "invalid")
