"""Search over HTTP: what a passage promises, modes, filters, queries that are no words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest
from calls import add_text, assert_problem, sha256
from conftest import finished

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.client import Client

TEXTS = {
    "route": "# Route\n\nThe northern route closes in November. 🦄 Hikers then take the valley path.",
    "bakery": "# Bakery\n\nMarta Lindqvist bakes rye bread each morning and keeps the spare key.",
    "cat": "# Animals\n\nA small cat sleeps on the sofa near the oven.",
}


@pytest.fixture(scope="module")
def library(application: Application, address: str) -> Iterator[Client]:
    """A workspace with a few indexed documents; nothing changes it."""
    with application.relational.write() as tx:
        _, key = access.create_key(tx, access.create_workspace(tx, "library"), "test")
    client = Client(address, key)
    added = [add_text(client, text, title=name, tags=[name, "all"]) for name, text in TEXTS.items()]
    for one in added:
        finished(client, one["job"]["id"])
    yield client
    client.close()


def search(client: Client, query: str, **options: object) -> list[dict]:
    found: list[dict] = client.call("POST", "/v1/search", json={"query": query, **options})["passages"]
    return found


def titles(passages: list[dict]) -> list[str]:
    return [passage["title"] for passage in passages]


class TestPassage:
    @pytest.mark.parametrize("mode", ["hybrid", "lexical", "semantic"])
    def test_is_the_stored_text_at_its_offsets_with_its_hash(self, library: Client, mode: str) -> None:
        passages = search(library, "the spare key of the northern route", mode=mode)
        assert passages
        for passage in passages:
            content = library.call("GET", f"/v1/documents/{passage['document_id']}/content")
            assert passage["version"] == content["version"]
            assert passage["text"] == content["text"][passage["start"] : passage["end"]]
            assert passage["sha256"] == sha256(passage["text"])

    def test_has_highlights_on_the_words_of_the_query(self, library: Client) -> None:
        passage = search(library, "hikers closing routes", mode="lexical")[0]
        content = library.call("GET", f"/v1/documents/{passage['document_id']}/content")["text"]
        spans = passage["highlights"]
        assert all(passage["start"] <= start < end <= passage["end"] for start, end in spans)
        assert {content[start:end].lower() for start, end in spans} == {"hikers", "closes", "route"}

    def test_says_what_found_it(self, library: Client) -> None:
        assert search(library, "rye bread", mode="lexical")[0]["ranks"] == {
            "lexical": 1,
            "semantic": None,
            "graph": None,
        }
        assert search(library, "rye bread", mode="semantic")[0]["ranks"]["semantic"] == 1
        hybrid = search(library, "Where is Marta Lindqvist?")[0]
        assert (hybrid["title"], hybrid["ranks"]) == ("bakery", {"lexical": 1, "semantic": 1, "graph": 1})
        assert hybrid["indexed_by"] == ["words", "meaning"]


class TestMode:
    def test_lexical_needs_the_words(self, library: Client) -> None:
        assert search(library, "kitten couch", mode="lexical") == []

    @pytest.mark.parametrize("mode", ["semantic", "hybrid"])
    def test_that_knows_meaning_does_not(self, library: Client, mode: str) -> None:
        assert titles(search(library, "kitten on a couch", mode=mode))[0] == "cat"

    def test_that_is_unknown_is_a_422(self, http: httpx.Client) -> None:
        assert_problem(http.post("/v1/search", json={"query": "x", "mode": "magic"}), 422, "invalid")


class TestFilter:
    @pytest.mark.parametrize("mode", ["hybrid", "lexical", "semantic"])
    def test_by_tags_takes_any_of_them(self, library: Client, mode: str) -> None:
        query = "northern route, spare key, small cat"
        assert sorted(titles(search(library, query, mode=mode, tags=["cat", "route", "none"]))) == ["cat", "route"]
        assert search(library, query, mode=mode, tags=["none"]) == []
        assert len(search(library, query, mode=mode, tags=["all"])) == 3

    @pytest.mark.parametrize("mode", ["hybrid", "lexical", "semantic"])
    def test_by_time_is_half_open(self, library: Client, mode: str) -> None:
        for document in library.call("GET", "/v1/documents")["items"]:
            created, title = document["created_at"], document["title"]
            query = "northern route, rye bread, small cat"
            just_after = (datetime.fromisoformat(created) + timedelta(milliseconds=1)).isoformat()
            assert title in titles(search(library, query, mode=mode, since=created, until=just_after))
            assert title not in titles(search(library, query, mode=mode, until=created))
            assert title not in titles(search(library, query, mode=mode, since=just_after))

    def test_takes_a_time_without_a_zone_as_utc_and_minds_any_other(self, library: Client) -> None:
        now = datetime.now(UTC)
        ago, ahead = now - timedelta(minutes=10), now + timedelta(minutes=10)
        for as_text in (
            lambda t: t.replace(tzinfo=None).isoformat(),
            lambda t: t.isoformat(),
            lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
            lambda t: t.astimezone(timezone(timedelta(hours=-9, minutes=-30))).isoformat(),
        ):
            assert search(library, "bread", mode="lexical", since=as_text(ago), until=as_text(ahead))
            assert not search(library, "bread", mode="lexical", since=as_text(ahead))
            assert not search(library, "bread", mode="lexical", until=as_text(ago))

    def test_takes_a_day(self, library: Client) -> None:
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
        assert search(library, "bread", mode="lexical", until=tomorrow)
        assert not search(library, "bread", mode="lexical", since=tomorrow)

    @pytest.mark.parametrize(
        "since",
        ["0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 0, -1e10, 1e300, "never"],
    )
    def test_at_the_ends_of_time_is_never_a_500(self, http: httpx.Client, since: object) -> None:
        for field in ("since", "until"):
            assert http.post("/v1/search", json={"query": "x", field: since}).status_code in (200, 422)


class TestQuery:
    @pytest.mark.parametrize(
        "query",
        ['"', '"bread', "bread*", "NEAR(bread rye, 2)", "bread AND", "-bread", "title:bread", "bread^2", "(", "';--"],
    )
    def test_has_no_syntax_to_get_wrong(self, library: Client, http: httpx.Client, query: str) -> None:
        if any(character.isalnum() for character in query):
            assert titles(search(library, query, mode="lexical")) == ["bakery"]
        else:
            assert http.post("/v1/search", json={"query": query}).status_code == 422

    @pytest.mark.parametrize("query", ["the of and", "北", "ÅÄÖ", "x" * 4000, "a " * 2000, "½", "²"])
    def test_of_odd_words_is_no_error(self, library: Client, query: str) -> None:
        for mode in ("hybrid", "lexical", "semantic"):
            search(library, query, mode=mode)

    @pytest.mark.parametrize("query", ["", " ", "?!", "🦄", "x" * 4001])
    def test_without_words_or_too_long_is_a_422(self, http: httpx.Client, query: str) -> None:
        assert_problem(http.post("/v1/search", json={"query": query}), 422, "invalid")

    def test_keeps_to_its_limit(self, library: Client, http: httpx.Client) -> None:
        assert len(search(library, "northern route, spare key, small cat", limit=2)) == 2
        for limit in (0, 101, 2.5, "many", None, 10**30):
            assert_problem(http.post("/v1/search", json={"query": "x", "limit": limit}), 422, "invalid")

    def test_in_an_empty_workspace_finds_nothing(self, client: Client) -> None:
        for mode in ("hybrid", "lexical", "semantic"):
            assert search(client, "anything", mode=mode) == []


def test_a_new_version_is_found_in_place_of_the_old_one(client: Client) -> None:
    add_text(client, "The gate code is tangerine.", uri="note://gate")
    second = add_text(client, "The gate code is aubergine.", uri="note://gate")
    assert search(client, "tangerine", mode="lexical") == []
    finished(client, second["job"]["id"])
    (passage,) = search(client, "gate code", mode="semantic")
    assert (passage["version"], "aubergine" in passage["text"]) == (2, True)
