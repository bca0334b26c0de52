"""What a browser can be made to do: names, origins and headers, closed unless a setting opens them."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from calls import assert_problem, send_raw

from pegasus.application import Application
from pegasus.browser import HostGate
from pegasus.errors import Misconfigured
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

PAGE = "https://notes.example"


@contextmanager
def configured(application: Application, **settings: str) -> Iterator[str]:
    given = application.settings.model_copy(update=settings)
    with serving_in_background(replace(application, settings=given, stopping=threading.Event())) as address:
        yield address


def with_host(address: str, host: str, path: str = "/health") -> httpx.Response:
    return httpx.get(address + path, headers={"Host": host}, verify=False)


class TestNames:
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8000"])
    def test_of_this_machine_are_answered(self, address: str, host: str) -> None:
        assert with_host(address, host).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2",
            "10.0.0.1", "", ":8000", "[", "]", "[::2]", "localhost@evil.example", "localhost/", "x" * 5_000,
            "local host", "*", "::1x",
        ],
    )  # fmt: skip
    def test_of_others_are_refused_with_the_setting(self, address: str, host: str) -> None:
        problem = assert_problem(with_host(address, host), 421, "misdirected")
        assert "PEGASUS_TRUSTED_HOSTS" in problem["hint"]
        assert len(str(problem)) < 1_000

    @pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/openapi.json", "/v1/documents", "/nothing"])
    def test_of_others_are_refused_everywhere(self, address: str, path: str) -> None:
        assert_problem(with_host(address, "evil.example", path), 421, "misdirected")

    def test_that_are_missing_or_twice_are_refused(self, address: str) -> None:
        for head in (b"GET /health HTTP/1.0\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"):
            answer = send_raw(address, head + b"Connection: close\r\n\r\n")
            assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400")), answer[:100]

    def test_are_asked_for_before_the_key(self, http: httpx.Client) -> None:
        assert_problem(http.get("/v1/keys", headers={"Host": "evil.example"}), 421, "misdirected")

    def test_can_be_added(self, application: Application) -> None:
        with configured(application, trusted_hosts="nas.local, Books.Example") as address:
            hosts = ("nas.local", "NAS.local:8000", "books.example", "localhost", "evil.example")
            assert [with_host(address, host).status_code for host in hosts] == [200, 200, 200, 200, 421]

    def test_can_be_opened_to_all_behind_something_that_checks_them(self, application: Application) -> None:
        with configured(application, trusted_hosts="*") as address:
            assert with_host(address, "anything.example").status_code == 200

    def test_the_address_that_it_listens_on_is_one(self, application: Application) -> None:
        with configured(application, host="192.0.2.7") as address:
            assert with_host(address, "192.0.2.7:8000").status_code == 200

    @pytest.mark.parametrize(
        ("arrived_at", "host", "ours"),
        [
            ("192.0.2.7", "192.0.2.7:8000", True),
            ("::ffff:192.0.2.7", "192.0.2.7", True),
            ("2001:db8::7", "[2001:db8::7]:8000", True),
            ("192.0.2.7", "192.0.2.8", False),
            ("192.0.2.7", "evil.example", False),
        ],
    )
    def test_the_address_that_a_request_arrived_at_is_one(self, arrived_at: str, host: str, ours: bool) -> None:
        gate = HostGate(SimpleNamespace(), frozenset({"localhost"}))  # type: ignore[arg-type]
        scope = {"type": "http", "headers": [(b"host", host.encode())], "server": (arrived_at, 8000)}
        assert gate._is_ours(scope) is ours


class TestOrigins:
    def preflight(self, address: str, origin: str) -> httpx.Response:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,content-type"}
        return httpx.options(f"{address}/v1/search", headers={"Origin": origin, **asked})

    def test_are_closed_unless_told_otherwise(self, http: httpx.Client, address: str) -> None:
        answers = [http.get("/v1/documents", headers={"Origin": PAGE}), self.preflight(address, PAGE)]
        assert answers[1].is_client_error
        assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]

    def test_that_are_named_may_call(self, application: Application, http: httpx.Client) -> None:
        with configured(application, cors_origins=f"https://other.example, {PAGE}") as address:
            asked = self.preflight(address, PAGE)
            key = {"X-API-Key": http.headers["x-api-key"]}
            answer = httpx.get(f"{address}/v1/documents", headers={"Origin": PAGE, **key})
            refused = httpx.get(f"{address}/v1/documents", headers={"Origin": PAGE})
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert {"x-api-key", "content-type"} <= set(asked.headers["access-control-allow-headers"].lower().split(", "))
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "ratelimit-remaining" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-credentials" not in answer.headers
        # A page must be able to see why it was refused.
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == PAGE

    def test_that_are_not_named_may_not(self, application: Application, http: httpx.Client) -> None:
        with configured(application, cors_origins=PAGE) as address:
            asked = self.preflight(address, "https://evil.example")
            key = {"X-API-Key": http.headers["x-api-key"]}
            answer = httpx.get(f"{address}/v1/documents", headers={"Origin": "https://evil.example", **key})
        assert asked.status_code == 400
        assert "access-control-allow-origin" not in {*asked.headers, *answer.headers}


class TestHeaders:
    @pytest.mark.parametrize("path", ["/health", "/ready", "/openapi.json", "/v1/documents", "/v1/nothing", "/nothing"])
    def test_keep_an_answer_what_it_is(self, http: httpx.Client, path: str) -> None:
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert ("cache-control" in headers) is path.startswith("/v1/")

    def test_are_on_refusals_and_on_what_nobody_expected_too(
        self, application: Application, http: httpx.Client, address: str
    ) -> None:
        broken = replace(application, graph=None, stopping=threading.Event())
        with serving_in_background(broken) as broken_address:
            key = {"X-API-Key": http.headers["x-api-key"]}
            unexpected = httpx.get(f"{broken_address}/v1/graph/entities", headers=key)
        answers = [unexpected, httpx.get(f"{address}/v1/keys"), with_host(address, "evil.example")]
        assert [answer.status_code for answer in answers] == [500, 401, 421]
        assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)

    def test_keep_keys_and_documents_out_of_caches(self, http: httpx.Client) -> None:
        assert http.get("/v1/keys").headers["cache-control"] == "no-store"
        assert http.post("/v1/keys", json={"name": "x"}).headers["cache-control"] == "no-store"

    def test_of_the_docs_page_allow_what_it_loads_and_nothing_else(self, address: str) -> None:
        answer = httpx.get(f"{address}/docs")
        assert answer.status_code == 200
        policy = {part.split()[0]: part.split()[1:] for part in answer.headers["content-security-policy"].split(";")}
        inline = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in inline]
        assert inline
        assert {f"'sha256-{digest}'" for digest in digests} <= set(policy["script-src"])
        for url in re.findall(r'<script src="([^"]+)"', answer.text):
            assert any(url.startswith(source) for source in policy["script-src"])
        for directive, sources in policy.items():
            assert "*" not in sources
            assert directive == "style-src" or "'unsafe-inline'" not in sources
        assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"]
        assert policy["connect-src"] == ["'self'"]


@pytest.mark.parametrize(("name", "value"), [
    ("PEGASUS_TRUSTED_HOSTS", "https://nas.local"),
    ("PEGASUS_TRUSTED_HOSTS", "nas.local:8000"),
    ("PEGASUS_TRUSTED_HOSTS", "nas.local, two words"),
    ("PEGASUS_CORS_ORIGINS", "notes.example"),
    ("PEGASUS_CORS_ORIGINS", "https://notes.example/"),
    ("PEGASUS_RATE_LIMIT", "often"),
    ("PEGASUS_ASK_RATE_LIMIT", "0/minute"),
])  # fmt: skip
def test_a_setting_that_would_not_work_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=name):
        load_settings()
