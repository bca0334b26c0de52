"""How much a key may do: rates with their headers, sizes, and what a sender of wrong keys gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx
import pytest
from calls import assert_problem
from conftest import finished

from pegasus.access import service as access
from pegasus.access.doorkeeper import Doorkeeper, Rates
from pegasus.adapters.memory_limiter import InMemoryRateLimiter
from pegasus.application import Application
from pegasus.client import Client
from pegasus.domain import Rate
from pegasus.server import serving_in_background

GENEROUS = Rate(1_000, "minute")
FIELDS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def limited(
    application: Application, requests: Rate = GENEROUS, asks: Rate = GENEROUS, failures: Rate = GENEROUS
) -> Iterator[tuple[str, Clock]]:
    """A server with other rates on the same stores, whose limiter has a clock that stands still."""
    clock = Clock()
    doorkeeper = Doorkeeper(application.relational, InMemoryRateLimiter(clock), Rates(requests, asks, failures))
    with serving_in_background(replace(application, doorkeeper=doorkeeper, stopping=threading.Event())) as address:
        yield address, clock


def shown(answer: httpx.Response) -> list[str]:
    return [answer.headers[field] for field in FIELDS]


def new_key(application: Application, workspace_id: str, **limits: object) -> dict[str, str]:
    with application.relational.write() as tx:
        _, key = access.create_key(tx, workspace_id, "limited", **limits)  # type: ignore[arg-type]
    return {"X-API-Key": key}


@pytest.fixture
def headers(application: Application, workspace_id: str) -> dict[str, str]:
    return new_key(application, workspace_id)


class TestRates:
    def test_every_answer_tells_what_is_left(self, application: Application, headers: dict[str, str]) -> None:
        with limited(application, Rate(5, "minute")) as (address, _):
            answers = [
                httpx.get(f"{address}/v1/documents", headers=headers),
                httpx.get(f"{address}/v1/documents/nothing", headers=headers),
                httpx.get(f"{address}/v1/nothing", headers=headers),
                httpx.post(f"{address}/v1/search", content=b"{", headers=headers),
            ]
        assert [answer.status_code for answer in answers] == [200, 404, 404, 422]
        assert [shown(answer)[1] for answer in answers] == ["4", "3", "2", "1"]
        assert shown(answers[0]) == ["5", "4", "12", "5;w=60"]

    def test_too_many_are_a_429_that_says_when_to_go_on(
        self, application: Application, headers: dict[str, str]
    ) -> None:
        with limited(application, Rate(2, "minute")) as (address, clock):
            for _ in range(2):
                assert httpx.get(f"{address}/v1/documents", headers=headers).status_code == 200
            refused = httpx.get(f"{address}/v1/documents", headers=headers)
            clock.now += float(refused.headers["retry-after"])
            after = httpx.get(f"{address}/v1/documents", headers=headers)
        problem = assert_problem(refused, 429, "too-many-requests")
        assert refused.headers["retry-after"] == "30"
        assert shown(refused) == ["2", "0", "60", "2;w=60"]
        assert "30 s" in problem["hint"]
        assert after.status_code == 200

    def test_each_key_has_its_own(self, application: Application, workspace_id: str, headers: dict[str, str]) -> None:
        with limited(application, Rate(1, "minute")) as (address, _):
            codes = [
                httpx.get(f"{address}/v1/documents", headers=given).status_code
                for given in (headers, headers, new_key(application, workspace_id))
            ]
        assert codes == [200, 429, 200]

    def test_a_key_may_have_a_rate_of_its_own(self, application: Application, workspace_id: str) -> None:
        lower = new_key(application, workspace_id, rate_limit=Rate(1, "hour"))
        higher = new_key(application, workspace_id, rate_limit=Rate(50, "second"))
        with limited(application, Rate(2, "minute")) as (address, _):
            assert shown(httpx.get(f"{address}/v1/documents", headers=lower))[3] == "1;w=3600"
            assert httpx.get(f"{address}/v1/documents", headers=lower).status_code == 429
            assert shown(httpx.get(f"{address}/v1/documents", headers=higher))[0] == "50"

    def test_the_body_of_a_refused_request_is_not_read(self, application: Application, headers: dict[str, str]) -> None:
        with limited(application, Rate(1, "hour")) as (address, _):
            httpx.get(f"{address}/v1/documents", headers=headers)
            for path in ("/v1/documents", "/v1/documents/batch", "/v1/search"):
                answer = httpx.post(address + path, content=b"{", headers=headers)
                assert_problem(answer, 429, "too-many-requests")

    def test_a_refused_request_writes_nothing(self, application: Application, headers: dict[str, str]) -> None:
        writes = 0

        class Counting:
            """The relational store, with its write transactions counted."""

            def __getattr__(self, name: str) -> object:
                nonlocal writes
                writes += name == "write"
                return getattr(application.relational, name)

        doorkeeper = Doorkeeper(
            Counting(),
            InMemoryRateLimiter(Clock()),
            Rates(Rate(1, "hour"), GENEROUS),  # type: ignore[arg-type]
        )
        key = headers["X-API-Key"]
        assert doorkeeper.admit(key, "192.0.2.1").allowance.granted
        assert writes == 1  # When it was last used, once a minute
        doorkeeper._touched.clear()
        for _ in range(10):
            assert not doorkeeper.admit(key, "192.0.2.1").allowance.granted
        assert writes == 1

    def test_questions_are_counted_besides(self, application: Application, headers: dict[str, str]) -> None:
        with limited(application, asks=Rate(2, "minute")) as (address, _):
            session = httpx.post(f"{address}/v1/sessions", json={}, headers=headers).json()["id"]
            asks = [
                ("/v1/ask", {"question": "Where do ospreys nest?"}),
                (f"/v1/sessions/{session}/messages", {"content": "Where do ospreys nest?"}),
            ]
            answers = [httpx.post(address + path, json=body, headers=headers) for path, body in [*asks, *asks]]
            events = httpx.post(
                f"{address}/v1/ask", json=asks[0][1], headers={**headers, "Accept": "text/event-stream"}
            )
            search = httpx.post(f"{address}/v1/search", json={"query": "ospreys"}, headers=headers)
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert [shown(answer)[:2] for answer in answers[1:3]] == [["2", "0"], ["2", "0"]]
        assert_problem(events, 429, "too-many-requests")
        assert search.status_code == 200
        assert shown(search)[0] == "1000"

    def test_the_command_line_waits_as_it_is_told(self, application: Application, workspace_id: str) -> None:
        key = new_key(application, workspace_id, rate_limit=Rate(2, "second"))["X-API-Key"]
        with serving_in_background(replace(application, stopping=threading.Event())) as address:
            client = Client(address, key)
            for _ in range(3):
                assert client.call("GET", "/v1/documents")["items"] == []
            client.close()


class TestWrongKeys:
    def test_of_one_address_end_in_a_429_and_lock_no_valid_key_out(
        self, application: Application, headers: dict[str, str]
    ) -> None:
        with limited(application, failures=Rate(3, "minute")) as (address, clock):
            wrong = [httpx.get(f"{address}/v1/documents", headers={"X-API-Key": f"pgs_guess{n}"}) for n in range(4)]
            right = httpx.get(f"{address}/v1/documents", headers=headers)
            clock.now += 20
            later = httpx.get(f"{address}/v1/documents", headers={"X-API-Key": "pgs_guess"})
        assert [answer.status_code for answer in wrong] == [401, 401, 401, 429]
        assert_problem(wrong[3], 429, "too-many-requests")
        assert wrong[3].headers["retry-after"] == "20"
        assert right.status_code == 200
        assert later.status_code == 401

    def test_are_counted_for_each_address(self, application: Application) -> None:
        doorkeeper = Doorkeeper(
            application.relational, InMemoryRateLimiter(Clock()), Rates(GENEROUS, GENEROUS, Rate(1, "hour"))
        )

        def outcome(address: str) -> str:
            with pytest.raises(Exception) as raised:
                doorkeeper.admit("pgs_wrong", address)
            return type(raised.value).__name__

        assert [outcome("192.0.2.1"), outcome("192.0.2.1"), outcome("192.0.2.2")] == [
            "Unauthorized", "TooManyRequests", "Unauthorized",
        ]  # fmt: skip
        # Of IPv6 a customer has a whole network.
        assert [outcome("2001:db8::1"), outcome("2001:db8::2"), outcome("2001:db8:0:1::1")] == [
            "Unauthorized", "TooManyRequests", "Unauthorized",
        ]  # fmt: skip

    def test_cannot_be_spread_over_addresses_that_nobody_vouches_for(self, application: Application) -> None:
        with limited(application, failures=Rate(1, "hour")) as (address, _):
            answers = [
                httpx.get(f"{address}/v1/keys", headers={"X-API-Key": "pgs_x", "X-Forwarded-For": f"192.0.2.{n}"})
                for n in range(2)
            ]
        assert [answer.status_code for answer in answers] == [401, 429]

    def test_are_counted_by_what_a_trusted_proxy_says(self, application: Application) -> None:
        settings = application.settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
        with limited(replace(application, settings=settings), failures=Rate(1, "hour")) as (address, _):
            answers = [
                httpx.get(f"{address}/v1/keys", headers={"X-API-Key": "pgs_x", "X-Forwarded-For": f"192.0.2.{n}"})
                for n in (1, 2, 1)
            ]
        assert [answer.status_code for answer in answers] == [401, 401, 429]


class TestSizes:
    @pytest.fixture
    def small(self, application: Application, workspace_id: str) -> dict[str, str]:
        return new_key(application, workspace_id, max_body_bytes=100)

    @pytest.mark.parametrize("path", ["/v1/documents", "/v1/search", "/v1/documents/batch"])
    def test_a_key_may_have_a_lower_one(self, address: str, small: dict[str, str], path: str) -> None:
        body = b'{"text": "' + b"x" * 200 + b'"}'
        declared = httpx.post(address + path, content=body, headers=small)
        streamed = httpx.post(
            address + path, content=(body[n : n + 10] for n in range(0, len(body), 10)), headers=small
        )
        for answer in (declared, streamed):
            problem = assert_problem(answer, 413, "too-large")
            assert "100 bytes" in problem["detail"]
            assert "key" in problem["hint"]

    def test_what_is_smaller_passes(self, address: str, small: dict[str, str], client: Client) -> None:
        answer = httpx.post(f"{address}/v1/documents", json={"text": "A short note."}, headers=small)
        assert answer.status_code == 202
        finished(client, answer.json()["job"]["id"])

    def test_a_key_cannot_raise_the_installations(self, application: Application, workspace_id: str) -> None:
        key = new_key(application, workspace_id, max_body_bytes=2**40)
        settings = application.settings.model_copy(update={"max_upload_bytes": 1})
        narrow = replace(application, settings=settings, stopping=threading.Event())
        with serving_in_background(narrow) as address:
            answer = httpx.post(f"{address}/v1/search", content=b" " * 2_000_000, headers=key)
        assert "PEGASUS_MAX_UPLOAD_BYTES" in assert_problem(answer, 413, "too-large")["hint"]
