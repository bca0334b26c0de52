"""Answers over HTTP: citations that verify, nothing found, sessions, and events as an answer comes about."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from calls import add_text, assert_problem, assert_verifies, events_of, sha256, walk
from conftest import finished

from pegasus import web
from pegasus.application import Application
from pegasus.chat.service import ChatService
from pegasus.client import Client
from pegasus.domain import Citation, FoundPassage
from pegasus.errors import Unavailable
from pegasus.ports import Agent, Draft
from pegasus.server import serving_in_background

EVENTS = {"Accept": "text/event-stream"}
QUESTION = "Who keeps the spare key of the hut?"


@pytest.fixture
def hut(client: Client) -> Client:
    """A workspace that knows about the hut."""
    for text in (
        "# Hut 🦄\n\nThe spare key of the hut is kept by Marta Lindqvist.\nThe hut stands at 2,140 metres.",
        "# Roof\n\nThe northern side of the roof leaks, said Jonas Weber in autumn.",
    ):
        finished(client, add_text(client, text)["job"]["id"])
    return client


class LyingAgent:
    """Backs true words with a quote that stands elsewhere, and false ones with a quote that stands nowhere."""

    name = "lying"

    def answer(self, question: str, passages: Sequence[FoundPassage]) -> Draft:
        passage = passages[0].passage
        made_up = Citation(passage.document_id, passage.version, 0, 8, sha256("Made up."), "Made up.", passage.title)
        quote = passage.text[:8]
        moved = Citation(passage.document_id, passage.version, 1, 9, sha256(quote), quote, passage.title)
        mishashed = Citation(passage.document_id, passage.version, 0, 8, sha256("x"), quote, passage.title)
        return Draft([("Lie one.", made_up), ("Lie two.", moved), ("Lie three.", mishashed)], found=True)


class ScriptedAgent:
    """Says what it is told to, or waits, or fails."""

    name = "scripted"

    def __init__(self, *script: str | Exception | threading.Event) -> None:
        self._script = script

    def answer(self, question: str, passages: Sequence[FoundPassage]) -> Draft:
        return Draft(self._parts(), found=True)  # type: ignore[arg-type]

    def _parts(self) -> Iterator[tuple[str, None]]:
        for item in self._script:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, threading.Event):
                item.wait(20)
                continue
            yield item, None


@contextmanager
def served_with(application: Application, agent: Agent, http: httpx.Client) -> Iterator[httpx.Client]:
    chat = ChatService(application.relational, application.search, agent)
    scripted = replace(application, chat=chat, stopping=threading.Event())
    headers = {"X-API-Key": http.headers["x-api-key"]}
    with serving_in_background(scripted) as address, httpx.Client(base_url=address, headers=headers) as made:
        yield made


def new_session(client: Client, title: str = "") -> str:
    session: dict = client.call("POST", "/v1/sessions", json={"title": title})
    return str(session["id"])


class TestAsk:
    def test_answers_with_citations_that_verify(self, hut: Client) -> None:
        answer = hut.call("POST", "/v1/ask", json={"question": QUESTION})
        assert answer["found"] is True
        assert "Marta Lindqvist" in answer["answer"]
        assert answer["citations"]
        assert answer["model"]
        for citation in answer["citations"]:
            assert_verifies(hut, citation)

    def test_cites_the_version_that_it_read(self, client: Client) -> None:
        add_text(client, "The gate code is tangerine.", uri="note://gate")
        finished(client, add_text(client, "The gate code is aubergine.", uri="note://gate")["job"]["id"])
        (citation,) = client.call("POST", "/v1/ask", json={"question": "What is the gate code?"})["citations"]
        add_text(client, "The gate code is mulberry.", uri="note://gate")
        assert (citation["version"], citation["quote"]) == (2, "The gate code is aubergine.")
        assert_verifies(client, citation)

    def test_that_nothing_answers_says_so_and_shows_what_is_nearest(self, hut: Client) -> None:
        answer = hut.call("POST", "/v1/ask", json={"question": "What is the boiling point of tungsten?"})
        assert (answer["found"], answer["citations"]) == (False, [])
        assert 1 <= len(answer["nearest"]) <= 3
        content = hut.call("GET", f"/v1/documents/{answer['nearest'][0]['document_id']}/content")["text"]
        nearest = answer["nearest"][0]
        assert content[nearest["start"] : nearest["end"]] == nearest["text"]

    def test_in_an_empty_workspace_finds_nothing(self, client: Client) -> None:
        answer = client.call("POST", "/v1/ask", json={"question": QUESTION})
        assert (answer["found"], answer["citations"], answer["nearest"]) == (False, [], [])

    def test_does_not_say_what_its_citation_does_not_prove(
        self, application: Application, hut: Client, http: httpx.Client
    ) -> None:
        with served_with(application, LyingAgent(), http) as lying:
            answer = lying.post("/v1/ask", json={"question": QUESTION}).json()
        assert (answer["found"], answer["citations"]) == (False, [])
        assert "Lie" not in answer["answer"]

    def test_minds_its_filters(self, hut: Client) -> None:
        answer = hut.call("POST", "/v1/ask", json={"question": QUESTION, "tags": ["nobody's"]})
        assert (answer["found"], answer["nearest"]) == (False, [])

    def test_does_not_quote_what_is_erased(self, hut: Client) -> None:
        cited = hut.call("POST", "/v1/ask", json={"question": QUESTION})["citations"][0]["document_id"]
        hut.call("DELETE", f"/v1/documents/{cited}")
        answer = hut.call("POST", "/v1/ask", json={"question": QUESTION})
        assert cited not in [citation["document_id"] for citation in answer["citations"]]
        assert "Marta" not in json.dumps(answer)

    @pytest.mark.parametrize(
        "body", [{"question": "?"}, {"question": ""}, {"question": "x" * 4001}, {"question": "x", "limit": 0}, {}]
    )
    @pytest.mark.parametrize("headers", [{}, EVENTS])
    def test_of_a_wrong_form_is_a_422_also_for_events(self, http: httpx.Client, body: dict, headers: dict) -> None:
        assert_problem(http.post("/v1/ask", json=body, headers=headers), 422, "invalid")


class TestEvents:
    @pytest.mark.parametrize("path", ["/v1/ask", "/v1/sessions/{}/messages"])
    def test_come_in_order_and_add_up_to_the_answer(self, hut: Client, http: httpx.Client, path: str) -> None:
        body = {"question": QUESTION} if path == "/v1/ask" else {"content": QUESTION}
        with http.stream("POST", path.format(new_session(hut)), json=body, headers=EVENTS) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            events = list(events_of(response))
        names = [name for name, _ in events]
        assert names[:3] == [":", "passages", "token"]
        assert names[-1] == "done"
        assert set(names[2:-1]) <= {"token", "citation", ":"}
        done = events[-1][1]
        assert "".join(data["text"] for name, data in events if name == "token") == done["answer"]
        citations = [data for name, data in events if name == "citation"]
        assert citations
        assert citations == done["citations"]
        for citation in citations:
            assert_verifies(hut, citation)

    def test_keep_the_connection_alive_before_the_first_token(
        self, application: Application, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web, "KEEP_ALIVE_SECONDS", 0.05)  # 15 s are too long for a test.
        may_speak = threading.Event()
        with (
            served_with(application, ScriptedAgent(may_speak, "At last."), http) as slow,
            slow.stream("POST", "/v1/ask", json={"question": QUESTION}, headers=EVENTS) as response,
        ):
            seen = []
            for name, data in events_of(response):
                seen.append((name, data))
                if seen.count((":", "keep-alive")) == 2:
                    may_speak.set()
        names = [name for name, _ in seen]
        assert [name for name in names if name != ":"] == ["passages", "token", "done"]
        assert (":", "keep-alive") in seen[: names.index("token")]

    @pytest.mark.parametrize(
        ("error", "code"), [(Unavailable("The model is away."), "unavailable"), (RuntimeError("secret"), "internal")]
    )
    def test_end_with_an_error_when_the_answer_breaks_off(
        self, application: Application, client: Client, http: httpx.Client, error: Exception, code: str
    ) -> None:
        session = new_session(client)
        with (
            served_with(application, ScriptedAgent("A start.", error), http) as breaking,
            breaking.stream(
                "POST", f"/v1/sessions/{session}/messages", json={"content": QUESTION}, headers=EVENTS
            ) as response,
        ):
            events = [(name, data) for name, data in events_of(response) if name != ":"]
        assert [name for name, _ in events] == ["passages", "token", "error"]
        assert events[-1][1]["type"] == f"urn:pegasus:problem:{code}"
        assert "secret" not in json.dumps(events)
        assert client.call("GET", f"/v1/sessions/{session}")["messages"] == []

    def test_that_nobody_waits_for_any_more_leave_the_server_well(self, hut: Client, http: httpx.Client) -> None:
        for _ in range(5):
            with http.stream("POST", "/v1/ask", json={"question": QUESTION}, headers=EVENTS) as response:
                next(response.iter_raw())
        assert hut.call("POST", "/v1/ask", json={"question": QUESTION})["found"]


class TestJsonAnswer:
    def test_that_breaks_off_is_a_503_to_try_again(self, application: Application, http: httpx.Client) -> None:
        with served_with(application, ScriptedAgent(Unavailable("The model is away.")), http) as breaking:
            answer = breaking.post("/v1/ask", json={"question": QUESTION})
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1


class TestSession:
    def test_keeps_questions_and_answers_in_order(self, hut: Client) -> None:
        session = new_session(hut)
        answer = hut.call("POST", f"/v1/sessions/{session}/messages", json={"content": QUESTION})
        hut.call("POST", f"/v1/sessions/{session}/messages", json={"content": "Who spoke of the leaking roof?"})
        read = hut.call("GET", f"/v1/sessions/{session}")
        assert [m["role"] for m in read["messages"]] == ["user", "assistant"] * 2
        assert [m["content"] for m in read["messages"][:2]] == [QUESTION, answer["answer"]]
        assert read["messages"][1]["citations"] == answer["citations"]
        assert read["title"] == QUESTION
        for citation in answer["citations"]:
            assert_verifies(hut, citation)

    def test_forgets_citations_of_what_is_erased(self, hut: Client) -> None:
        session = new_session(hut)
        answer = hut.call("POST", f"/v1/sessions/{session}/messages", json={"content": QUESTION})
        for citation in answer["citations"]:
            hut.call("DELETE", f"/v1/documents/{citation['document_id']}")
        read = hut.call("GET", f"/v1/sessions/{session}")
        assert read["messages"][1]["citations"] == []

    def test_does_not_repeat_the_words_of_what_is_erased(self, hut: Client) -> None:
        session = new_session(hut)
        answer = hut.call("POST", f"/v1/sessions/{session}/messages", json={"content": QUESTION})
        for citation in answer["citations"]:
            erased = hut.call("DELETE", f"/v1/documents/{citation['document_id']}")
            finished(hut, erased["job"]["id"])
        assert "kept by Marta Lindqvist" not in json.dumps(hut.call("GET", f"/v1/sessions/{session}"))

    def test_that_is_deleted_is_gone(self, client: Client, http: httpx.Client) -> None:
        session = new_session(client)
        assert http.delete(f"/v1/sessions/{session}").status_code == 204
        assert_problem(http.get(f"/v1/sessions/{session}"), 404, "not-found")
        assert_problem(http.delete(f"/v1/sessions/{session}"), 404, "not-found")
        answer = http.post(f"/v1/sessions/{session}/messages", json={"content": QUESTION}, headers=EVENTS)
        assert_problem(answer, 404, "not-found")

    def test_has_the_title_that_it_was_given(self, client: Client) -> None:
        title = "x" * 500  # The longest that the form allows.
        assert client.call("GET", f"/v1/sessions/{new_session(client, title)}")["title"] == title

    def test_is_listed_once_newest_first(self, client: Client) -> None:
        ids = [new_session(client, f"S{n}") for n in range(5)]
        assert walk(client, "/v1/sessions") == ids[::-1]

    @pytest.mark.parametrize("content", ["", " ", "?", "x" * 4001, None, 7])
    def test_takes_no_message_without_words(self, client: Client, http: httpx.Client, content: object) -> None:
        session = new_session(client)
        assert_problem(http.post(f"/v1/sessions/{session}/messages", json={"content": content}), 422, "invalid")
        assert client.call("GET", f"/v1/sessions/{session}")["messages"] == []


class TestIdempotencyKey:
    def test_makes_one_session(self, client: Client, http: httpx.Client) -> None:
        headers = {"Idempotency-Key": "s"}
        first, again = (http.post("/v1/sessions", json={"title": "T"}, headers=headers) for _ in range(2))
        assert (again.status_code, again.json()) == (201, first.json())
        assert walk(client, "/v1/sessions") == [first.json()["id"]]
        assert_problem(http.post("/v1/sessions", json={"title": "Other"}, headers=headers), 409, "conflict")

    def test_asks_a_message_once(self, hut: Client, http: httpx.Client) -> None:
        session, headers = new_session(hut), {"Idempotency-Key": "m"}
        path = f"/v1/sessions/{session}/messages"
        first, again = (http.post(path, json={"content": QUESTION}, headers=headers) for _ in range(2))
        assert again.json() == first.json()
        with http.stream("POST", path, json={"content": QUESTION}, headers={**headers, **EVENTS}) as response:
            assert [e for e in events_of(response) if e[0] != ":"][-1] == ("done", first.json())
        assert len(hut.call("GET", f"/v1/sessions/{session}")["messages"]) == 2
        assert_problem(http.post(path, json={"content": "Other?"}, headers=headers), 409, "conflict")

    def test_asks_a_message_once_also_when_both_come_at_the_same_time(
        self, application: Application, client: Client, http: httpx.Client
    ) -> None:
        session, both = new_session(client), threading.Event()
        with served_with(application, ScriptedAgent(both, "An answer."), http) as slow, ThreadPoolExecutor(2) as pool:
            send = lambda: slow.post(  # noqa: E731
                f"/v1/sessions/{session}/messages", json={"content": QUESTION}, headers={"Idempotency-Key": "m"}
            )
            sent = [pool.submit(send) for _ in range(2)]
            threading.Timer(0.3, both.set).start()
            statuses = {one.result().status_code for one in sent}
        assert statuses <= {200, 409}
        assert len(client.call("GET", f"/v1/sessions/{session}")["messages"]) == 2
