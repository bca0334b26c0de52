"""What holds for every call: health, who may come in, errors as problems, and nonsense that is never a 500."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from calls import add_text, assert_problem, send_raw
from conftest import finished

from pegasus import __version__
from pegasus.application import Application
from pegasus.client import Client
from pegasus.errors import Unavailable
from pegasus.server import serving_in_background

UNKNOWN = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"
DEEP = b"[" * 100_000
JSON = {"Content-Type": "application/json"}
POSTS = {  # Each POST with a JSON body, and the field of it that is free text.
    "/v1/documents": "text",
    "/v1/search": "query",
    "/v1/ask": "question",
    "/v1/sessions": "title",
    "/v1/keys": "name",
}


class TestHealth:
    def test_tells_the_version_to_anybody(self, address: str) -> None:
        answer = httpx.get(f"{address}/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": __version__})

    def test_does_not_touch_a_dependency(self, application: Application) -> None:
        with serving_in_background(unready(application)) as address:
            assert httpx.get(f"{address}/health").status_code == 200


@pytest.mark.usefixtures("workspace_id")  # Without any the database would be taken for emptied.
class TestReadiness:
    def test_names_each_dependency_with_its_latency(self, address: str) -> None:
        answer = httpx.get(f"{address}/ready")
        assert answer.status_code == 200
        assert answer.json()["ready"] is True
        entries = {entry["name"]: entry for entry in answer.json()["dependencies"]}
        assert {"relational", "vectors", "graph", "files"} <= set(entries)
        assert all(entry["ready"] and entry["latency_ms"] >= 0 for entry in entries.values())

    def test_is_a_503_that_says_what_does_not_answer(self, application: Application) -> None:
        with serving_in_background(unready(application)) as address:
            answer = httpx.get(f"{address}/ready")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        states = {entry["name"]: (entry["ready"], entry["detail"]) for entry in answer.json()["dependencies"]}
        assert states["graph"] == (False, "The graph is away.")
        assert states["relational"] == (True, None)

    def test_is_a_503_also_when_a_dependency_fails_in_an_unexpected_way(self, application: Application) -> None:
        with serving_in_background(unready(application, OSError("disk"))) as address:
            assert httpx.get(f"{address}/ready").status_code == 503

    def test_is_a_503_while_it_stops(self, application: Application) -> None:
        stopping = replace(application, stopping=threading.Event())
        with serving_in_background(stopping) as address:
            stopping.stopping.set()
            assert httpx.get(f"{address}/ready").status_code == 503


def unready(application: Application, error: Exception | None = None) -> Application:
    def away() -> None:
        raise error or Unavailable("The graph is away.")

    return replace(application, checks={**application.checks, "graph": away}, stopping=threading.Event())


class TestKeys:
    @pytest.mark.parametrize(
        "path", ["/v1/documents", "/v1/jobs", "/v1/keys", "/v1/sessions", "/v1/graph/entities", f"/v1/jobs/{UNKNOWN}"]
    )
    def test_are_asked_for_everywhere(self, address: str, path: str) -> None:
        answer = httpx.get(address + path)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("path", POSTS)
    def test_are_asked_for_before_the_body_is_looked_at(self, address: str, path: str) -> None:
        assert_problem(httpx.post(address + path, content=b"{", headers=JSON), 401, "unauthorized")

    def test_may_come_as_a_bearer_token(self, http: httpx.Client, address: str) -> None:
        headers = {"Authorization": f"Bearer {http.headers['x-api-key']}"}
        assert httpx.get(f"{address}/v1/documents", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-API-Key": "pgs_wrong"},
            {"X-API-Key": ""},
            {"X-API-Key": b"\xff\xfe"},
            {"X-API-Key": "x" * 10_000},
            {"Authorization": "Bearer"},
            {"Authorization": "Basic eDp5"},
            {"Authorization": b"Bearer \xf0\x28"},
            {"Authorization": "Bearer a b c"},
        ],
    )
    def test_that_open_nothing_are_a_401(self, address: str, headers: dict) -> None:
        assert_problem(httpx.get(f"{address}/v1/documents", headers=headers), 401, "unauthorized")


class TestProblems:
    def test_of_an_unknown_route(self, http: httpx.Client) -> None:
        assert_problem(http.get("/v1/nothing"), 404, "about:blank")

    def test_of_a_wrong_method_tells_the_right_ones(self, http: httpx.Client) -> None:
        answer = http.put("/v1/search")
        assert_problem(answer, 405, "about:blank")
        assert answer.headers["allow"] == "POST"

    @pytest.mark.parametrize(
        ("path", "what"),
        [
            ("/v1/documents/{}", "GET"),
            ("/v1/documents/{}/content", "GET"),
            ("/v1/documents/{}", "DELETE"),
            ("/v1/jobs/{}", "GET"),
            ("/v1/jobs/{}/results", "GET"),
            ("/v1/jobs/{}/events", "GET"),
            ("/v1/jobs/{}/retry", "POST"),
            ("/v1/jobs/{}/cancel", "POST"),
            ("/v1/sessions/{}", "GET"),
            ("/v1/sessions/{}", "DELETE"),
            ("/v1/sessions/{}/messages", "POST"),
            ("/v1/graph/entities/{}/neighbours", "GET"),
            ("/v1/keys/{}", "DELETE"),
        ],
    )
    def test_of_an_id_that_names_nothing(self, http: httpx.Client, path: str, what: str) -> None:
        body = {"content": "hello there"} if path.endswith("messages") else None
        for id_ in (UNKNOWN, UNKNOWN.upper(), "x", "%00", "%ED%A0%80", "..%2F..", "'%20OR%201=1--", "x" * 5000, "🦄"):
            answer = http.request(what, path.format(id_), json=body)
            assert answer.status_code == 404, (id_[:50], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"

    def test_never_repeat_what_was_sent_at_length(self, http: httpx.Client) -> None:
        assert len(http.get("/v1/documents", params={"cursor": "x" * 20_000}).text) < 2_000

    @pytest.mark.parametrize(
        "ask",
        [
            lambda http: http.get("/v1/documents", headers={"X-API-Key": "wrong"}),
            lambda http: http.get("/v1/nothing"),
            lambda http: http.put("/v1/search"),
            lambda http: http.get("/v1/documents/garbage"),
            lambda http: http.get(f"/v1/documents/{UNKNOWN}"),
            lambda http: http.get(f"/v1/documents/{add(http)['document']['id']}/content?version=9"),
            lambda http: http.post(f"/v1/jobs/{add(http)['job']['id']}/retry"),
            lambda http: http.post("/v1/documents", content=b"x", headers={"Content-Type": "text/css"}),
            lambda http: http.post("/v1/documents", json={"text": ""}),
            lambda http: http.post("/v1/documents", json={"text": "x"}, headers={"Idempotency-Key": ""}),
            lambda http: http.post("/v1/documents", files={"file": b"x"}, data={"metadata": "["}),
            lambda http: http.post("/v1/documents", files={"file": b"x"}, data={"metadata": "[]"}),
            lambda http: http.post("/v1/documents", files={"file": b"x"}, data={"tags": ["x" * 101]}),
            lambda http: http.post("/v1/search", json={"query": "x" * 4001}),
            lambda http: http.post("/v1/search", json={"query": "?"}),
            lambda http: http.get("/v1/jobs?cursor=x"),
        ],
    )
    def test_each_have_a_next_step(self, http: httpx.Client, ask: Callable[[httpx.Client], httpx.Response]) -> None:
        answer = ask(http)
        assert answer.is_client_error
        assert answer.json().get("hint"), answer.text

    def test_carry_the_id_that_the_log_has(self, http: httpx.Client) -> None:
        ids = {http.get("/v1/nothing").headers["x-request-id"] for _ in range(2)}
        assert len(ids) == 2


def add(http: httpx.Client) -> dict:
    added: dict = http.post("/v1/documents", json={"text": "A document in passing."}).json()
    return added


@pytest.mark.parametrize("path", POSTS)
class TestNonsense:
    @pytest.mark.parametrize(
        "body", [b"", b"{", b"nonsense", DEEP, b'{"a":' * 50_000, b"\xff\xfe{}", b"NaN", b"[]", b'"x"', b"1" * 10_000]
    )
    def test_body_is_refused(self, http: httpx.Client, path: str, body: bytes) -> None:
        answer = http.post(path, content=body, headers=JSON)
        assert answer.status_code in (400, 422), answer.text[:300]
        assert answer.headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "value",
        ['"\\ud800"', '"x \\udc00\\ud800 y"', "NaN", "1e999", "9" * 4_000, "-" + "9" * 10_000, "{}", "[[]]", "true"],
    )
    def test_value_is_refused(self, http: httpx.Client, path: str, value: str) -> None:
        answer = http.post(path, content=f'{{"{POSTS[path]}": {value}}}', headers=JSON)
        assert answer.status_code in (400, 422), answer.text[:300]

    def test_field_name_is_refused(self, http: httpx.Client, path: str) -> None:
        body = json.dumps({POSTS[path]: "harmless words", "\ud800": 1})
        answer = http.post(path, content=body, headers=JSON)
        assert answer.status_code in (400, 422), answer.text[:300]

    def test_nul_is_never_a_500(self, http: httpx.Client, path: str) -> None:
        answer = http.post(path, json={POSTS[path]: "north\0ern \0"})
        assert answer.status_code < 500

    @pytest.mark.parametrize("accept", ["", "*/*;q=x", "text/event-stream;q=", "\xff"])
    def test_header_is_never_a_500(self, http: httpx.Client, path: str, accept: str) -> None:
        headers = {"Accept": accept.encode("latin-1"), "Idempotency-Key": b"\xff\x80", "Accept-Language": b"\xe2\x28"}
        answer = http.post(path, json={POSTS[path]: "the northern route"}, headers=headers)
        assert answer.status_code < 500

    def test_content_type_is_refused(self, http: httpx.Client, path: str) -> None:
        answer = http.post(path, content=b'{"x": 1}', headers={"Content-Type": "\xff/;;=".encode("latin-1")})
        assert answer.status_code in (400, 415, 422)


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "\ud800"},
        {"title": "a\0b"},
        {"uri": "\udfff"},
        {"uri": "a\0"},
        {"tags": ["\ud800"]},
        {"tags": ["a\0b"]},
        {"text": "a\ud800"},
        {"text": "\0"},
        {"metadata": {"\ud800": 1}},
        {"metadata": {"a": ["\ud800"]}},
    ],
)
def test_a_document_with_a_lone_surrogate_or_nul_is_a_422(http: httpx.Client, fields: dict) -> None:
    answer = http.post("/v1/documents", content=json.dumps({"text": "words", **fields}), headers=JSON)
    assert_problem(answer, 422, "invalid")
    assert http.get("/v1/documents").json()["items"] == []


METADATA = [
    '{"a": NaN}',
    '{"a": -Infinity}',
    '{"a": 1e999}',
    '{"a": "\\ud800"}',
    '{"\\ud800": 1}',
    '{"a": "\\u0000"}',
    '{"a": ' + "9" * 4_000 + "}",
    '{"a": ' + "9" * 5_000 + "}",
    '{"a": ' + "[" * 150 + "]" * 150 + "}",
]


@pytest.mark.parametrize("name", ["a\0b", "\x1b[31mred", "a\x7f"])
@pytest.mark.parametrize(("path", "field"), [("/v1/sessions", "title"), ("/v1/keys", "name")])
def test_a_name_with_control_characters_is_a_422(http: httpx.Client, path: str, field: str, name: str) -> None:
    assert_problem(http.post(path, json={field: name}), 422, "invalid")


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize("how", ["json", "form", "batch"])
def test_odd_metadata_is_refused_or_can_be_read_again(
    http: httpx.Client, client: Client, metadata: str, how: str
) -> None:
    line = f'{{"text": "words", "metadata": {metadata}}}'
    if how == "json":
        answer = http.post("/v1/documents", content=line, headers=JSON)
    elif how == "form":
        answer = http.post("/v1/documents", files={"file": ("a.txt", b"words")}, data={"metadata": metadata})
    else:
        answer = http.post("/v1/documents/batch", content=line)
    assert http.get("/v1/documents").status_code == 200, "it spoils the list for good"
    assert answer.status_code in (202, 422), answer.text[:300]
    if answer.status_code == 202:
        finished(client, answer.json()["job"]["id"])


@pytest.mark.parametrize(
    "filename",
    ["../../etc/passwd", "\0.txt", "\ud800.txt", "a\r\nb.txt", "x" * 5000 + ".txt", "", " ", "\x1b[31m.txt", "🦄.txt"],
)
def test_a_filename_is_a_name_and_nothing_else(http: httpx.Client, client: Client, filename: str) -> None:
    name = filename.encode("utf-8", "surrogatepass")
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\nWords here.\r\n--b--\r\n' % name
    answer = http.post("/v1/documents", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code in (202, 400, 422), answer.text
    if answer.status_code == 202:
        assert finished(client, answer.json()["job"]["id"])["state"] == "succeeded"
        title = client.call("GET", f"/v1/documents/{answer.json()['document']['id']}")["title"]
        assert title.isprintable()
        assert "/" not in title


@pytest.mark.parametrize(
    "cursor", ["x", "", "0", "\0", "' OR 1=1", "🦄", UNKNOWN.upper(), "{" + UNKNOWN + "}", "x" * 5_000]
)
@pytest.mark.parametrize("path", ["/v1/documents", "/v1/jobs", "/v1/sessions", "/v1/keys"])
def test_a_cursor_that_is_none_is_a_422(http: httpx.Client, path: str, cursor: str) -> None:
    assert_problem(http.get(path, params={"cursor": cursor}), 422, "invalid")


@pytest.mark.parametrize("path", ["/v1/documents?tag=%00", "/v1/documents?uri=%ED%A0%80", "/v1/jobs?document_id=%00",
                                  "/v1/jobs?document_id=x", "/v1/graph/entities?q=%00", "/v1/graph/entities?q=%25%5C_",
                                  "/v1/documents?tag=a&tag=b", "/v1/documents?%FF=%FF"])  # fmt: skip
def test_a_filter_that_fits_nothing_finds_nothing(client: Client, http: httpx.Client, path: str) -> None:
    added = add_text(client, "Marta Lindqvist met Jonas Weber in Oslo.")
    finished(client, added["job"]["id"])
    answer = http.get(path)
    assert answer.status_code in (200, 422)
    assert "?%FF" in path or not answer.json().get("items")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /v1/documents HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1/documents HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\nConnection: close\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nZZ\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/documents HTTP/1.1\r\nHost: localhost\r\nX-API-Key: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
)
def test_bytes_that_are_no_proper_request_are_the_callers_error(address: str, request_bytes: bytes) -> None:
    answer = send_raw(address, request_bytes)
    assert answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert httpx.get(f"{address}/health").status_code == 200


def test_a_long_body_without_a_length_is_a_413_everywhere(application: Application, http: httpx.Client) -> None:
    settings = application.settings.model_copy(update={"max_upload_bytes": 1})
    narrow = replace(application, settings=settings, stopping=threading.Event())
    with serving_in_background(narrow) as address:
        for path in POSTS:
            blocks = (b" " * 100_000 for _ in range(15))
            headers = {**JSON, "X-API-Key": http.headers["x-api-key"]}
            assert_problem(httpx.post(address + path, content=blocks, headers=headers), 413, "too-large")
