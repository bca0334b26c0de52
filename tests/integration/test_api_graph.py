"""The graph over HTTP: entities by name, and what lies around one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from calls import add_text, assert_problem
from conftest import finished

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.client import Client

TEXTS = {
    "meeting": "Marta Lindqvist met Jonas Weber in Oslo.",
    "roof": "Jonas Weber repairs the roof together with Priya Raman.",
    "trip": "Priya Raman travelled with Bertil Andersson.",
    "cat": "The cat sleeps.",
}


@pytest.fixture(scope="module")
def people(application: Application, address: str) -> Iterator[Client]:
    """A chain of people, each met by the next; nothing changes it."""
    with application.relational.write() as tx:
        _, key = access.create_key(tx, access.create_workspace(tx, "people"), "test")
    client = Client(address, key)
    for job in [add_text(client, text, title=title)["job"] for title, text in TEXTS.items()]:
        finished(client, job["id"])
    yield client
    client.close()


def entities(client: Client, **query: object) -> dict[str, dict]:
    found = client.call("GET", "/v1/graph/entities", params=query)["items"]
    return {item["name"]: item for item in found}


def around(client: Client, name: str, **query: object) -> dict:
    found: dict = client.call("GET", f"/v1/graph/entities/{entities(client)[name]['id']}/neighbours", params=query)
    return found


class TestEntities:
    @pytest.mark.parametrize("query", ["Jonas Weber", "jonas", "WEBER", "nas  web"])
    def test_are_found_by_a_part_of_their_name_in_any_case(self, people: Client, query: str) -> None:
        assert set(entities(people, q=query)) == {"Jonas Weber"}

    def test_come_most_mentioned_first(self, people: Client) -> None:
        found = list(entities(people).values())
        assert {found[0]["name"], found[1]["name"]} == {"Jonas Weber", "Priya Raman"}
        assert [item["passages"] for item in found] == sorted((item["passages"] for item in found), reverse=True)
        assert found[0]["passages"] == 2

    @pytest.mark.parametrize("query", ["%", "_", "\\", "Nobody Atall"])
    def test_have_no_wildcards(self, people: Client, query: str) -> None:
        assert entities(people, q=query) == {}

    def test_keep_to_the_limit(self, people: Client, http: httpx.Client) -> None:
        assert len(entities(people, limit=1)) == 1
        for limit in ("0", "201", "x"):
            assert_problem(http.get("/v1/graph/entities", params={"limit": limit}), 422, "invalid")

    def test_with_a_query_too_long_are_a_422(self, http: httpx.Client) -> None:
        assert_problem(http.get("/v1/graph/entities", params={"q": "x" * 201}), 422, "invalid")


class TestNeighbours:
    def test_are_those_of_the_same_passages_and_the_documents_that_mention_it(self, people: Client) -> None:
        found = around(people, "Jonas Weber")
        assert found["entity"]["name"] == "Jonas Weber"
        names = {n["name"]: n["depth"] for n in found["neighbours"]}
        assert names["Marta Lindqvist"] == names["Priya Raman"] == 1
        assert "Bertil Andersson" not in names
        assert {d["title"] for d in found["documents"]} == {"meeting", "roof"}

    def test_reach_as_far_as_asked(self, people: Client) -> None:
        depths = {n["name"]: n["depth"] for n in around(people, "Marta Lindqvist", depth=3)["neighbours"]}
        assert (depths["Jonas Weber"], depths["Priya Raman"], depths["Bertil Andersson"]) == (1, 2, 3)
        assert "Marta Lindqvist" not in depths

    @pytest.mark.parametrize("depth", ["0", "4", "x", "1.5", "9" * 400])
    def test_at_a_bad_depth_are_a_422(self, people: Client, http: httpx.Client, depth: str) -> None:
        id_ = entities(people)["Jonas Weber"]["id"]
        assert_problem(http.get(f"/v1/graph/entities/{id_}/neighbours", params={"depth": depth}), 422, "invalid")

    def test_name_documents_that_link_to_each_other(self, client: Client) -> None:
        for text, title in (("Jonas Weber wrote [[Plan]].", "Diary"), ("The plan of Jonas Weber.", "Plan")):
            finished(client, add_text(client, text, title=title)["job"]["id"])
        documents = {d["title"]: d for d in around(client, "Jonas Weber")["documents"]}
        assert documents["Diary"]["links_to"] == [documents["Plan"]["id"]]
        assert documents["Plan"]["links_to"] == []


def test_an_entity_that_only_an_erased_document_mentioned_is_gone(client: Client, http: httpx.Client) -> None:
    added = add_text(client, "Marta Lindqvist met Jonas Weber.")
    finished(client, added["job"]["id"])
    id_ = entities(client)["Jonas Weber"]["id"]
    erased = client.call("DELETE", f"/v1/documents/{added['document']['id']}")
    assert entities(client) == {}
    finished(client, erased["job"]["id"])
    assert_problem(http.get(f"/v1/graph/entities/{id_}/neighbours"), 404, "not-found")
