"""Documents over HTTP: texts, uploads, archives, batches, lists, content, erasure."""

from __future__ import annotations

import io
import json
import socket
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from calls import add_text, assert_problem, sha256, walk
from conftest import finished
from fastapi.testclient import TestClient

from pegasus.access import service as access
from pegasus.api import create_api
from pegasus.application import Application
from pegasus.bootstrap import embedded
from pegasus.client import Client, ProblemError
from pegasus.samples import SampleDocument, make_docx, make_pdf
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

NOTE = "The northern route closes in November. Anna has the keys to the hut."
SAMPLE = SampleDocument("Hut handbook", [("Arrival", ["The spare key lies under the seventh stone of the wall."])])
MAX_UPLOAD, MAX_TEXT = 20_000, 2_000


def zip_of(**files: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for name, content in files.items():
            written.writestr(name.replace("_", "."), content)
    return archive.getvalue()


def results(http: httpx.Client, job_id: str) -> list[dict]:
    answer = http.get(f"/v1/jobs/{job_id}/results")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """A Pegasus with small limits."""
    directory: Path = tmp_path_factory.mktemp("small")
    settings = load_settings(data=directory, embedder="hash", max_upload_bytes=MAX_UPLOAD, max_text_characters=MAX_TEXT)
    with embedded(settings) as running:
        yield running


@pytest.fixture(scope="module")
def small_http(small: Application) -> Iterator[httpx.Client]:
    with small.relational.write() as tx:
        _, key = access.create_key(tx, access.ensure_workspace(tx), "test")
    with serving_in_background(small) as address, httpx.Client(base_url=address, headers={"X-API-Key": key}) as http:
        yield http


class TestText:
    def test_is_accepted_with_its_hash_and_a_job_that_makes_it_ready(self, client: Client, http: httpx.Client) -> None:
        body = {"title": "Route", "text": NOTE, "uri": "note://1", "tags": ["b", "a"], "metadata": {"by": "Anna"}}
        answer = http.post("/v1/documents", json=body)
        assert answer.status_code == 202
        document, job = answer.json()["document"], answer.json()["job"]
        assert document["sha256"] == sha256(NOTE)
        assert (document["version"], document["title"], document["tags"]) == (1, "Route", ["a", "b"])
        assert finished(client, job["id"])["state"] == "succeeded"
        read = client.call("GET", f"/v1/documents/{document['id']}")
        assert (read["state"], read["metadata"], read["uri"]) == ("ready", {"by": "Anna"}, "note://1")

    def test_is_found_by_its_words_in_the_very_next_request(self, client: Client) -> None:
        for number in range(5):
            added = add_text(client, f"Entry {number}: the password of the boathouse is zanzibar{number}.")
            found = client.call("POST", "/v1/search", json={"query": f"zanzibar{number}", "mode": "lexical"})
            assert [p["document_id"] for p in found["passages"]] == [added["document"]["id"]]

    def test_again_is_the_same_document_and_no_job(self, client: Client, http: httpx.Client) -> None:
        first = add_text(client, NOTE, tags=["one"])
        again = http.post("/v1/documents", json={"text": NOTE, "tags": ["two"]})
        assert again.status_code == 200
        assert again.json()["job"] is None
        assert again.json()["document"]["id"] == first["document"]["id"]
        assert again.json()["document"]["tags"] == ["one", "two"]

    def test_changed_under_its_uri_is_a_new_version_and_the_old_one_can_still_be_read(self, client: Client) -> None:
        first = add_text(client, "The hut opens in May.", uri="note://hut")["document"]
        second = add_text(client, "The hut opens in June.", uri="note://hut")["document"]
        assert (second["id"], second["version"]) == (first["id"], 2)
        path = f"/v1/documents/{first['id']}/content"
        assert client.call("GET", path)["text"] == "The hut opens in June."
        assert client.call("GET", path, params={"version": 1})["text"] == "The hut opens in May."

    def test_content_counts_in_code_points_and_has_its_own_hash(self, client: Client) -> None:
        text = "Ünïcode 🦄🦄 first.\n\nThen the unicorn sleeps."
        added = add_text(client, text)
        content = client.call("GET", f"/v1/documents/{added['document']['id']}/content")
        assert content["text"] == text
        assert content["sha256"] == sha256(text)
        (passage,) = client.call("POST", "/v1/search", json={"query": "unicorn", "mode": "lexical"})["passages"]
        assert text[passage["start"] : passage["end"]] == passage["text"]

    def test_of_which_a_version_is_not_there_is_a_404(self, client: Client, http: httpx.Client) -> None:
        added = add_text(client, NOTE)
        assert_problem(http.get(f"/v1/documents/{added['document']['id']}/content?version=9"), 404, "not-found")

    @pytest.mark.parametrize(
        "body",
        [
            {"text": ""},
            {"text": " \n "},
            {"title": "no text"},
            {"text": 5},
            {"text": NOTE, "tags": "one"},
            {"text": NOTE, "tags": [1]},
            {"text": NOTE, "tags": [f"t{n}" for n in range(51)]},
            {"text": NOTE, "tags": ["x" * 101]},
            {"text": NOTE, "title": "x" * 501},
            {"text": NOTE, "uri": "x" * 2001},
            {"text": NOTE, "metadata": []},
            {"text": NOTE, "unknown": 1},
            [],
            None,
        ],
    )
    def test_of_a_wrong_form_is_a_422_and_not_kept(self, http: httpx.Client, body: object) -> None:
        assert_problem(http.post("/v1/documents", json=body), 422, "invalid")
        assert http.get("/v1/documents").json()["items"] == []

    def test_longer_than_allowed_is_a_413(self, small_http: httpx.Client) -> None:
        assert_problem(small_http.post("/v1/documents", json={"text": "x" * (MAX_TEXT + 1)}), 413, "too-large")

    def test_added_again_after_its_job_was_cancelled_is_indexed_after_all(
        self, small: Application, small_http: httpx.Client
    ) -> None:
        text = "The note whose job was cancelled."
        with pytest.MonkeyPatch.context() as held:
            held.setattr("pegasus.jobs.worker.repository.has_due", lambda *_: False)
            added = small_http.post("/v1/documents", json={"text": text}).json()
            assert small_http.post(f"/v1/jobs/{added['job']['id']}/cancel").status_code == 200
        small_http.post("/v1/documents", json={"text": text})
        until = time.monotonic() + 20
        while small_http.get(f"/v1/documents/{added['document']['id']}").json()["state"] != "ready":
            assert time.monotonic() < until, "it stays searchable by words for ever"
            time.sleep(0.05)


class TestUpload:
    def test_has_what_the_form_says_of_it(self, client: Client, http: httpx.Client) -> None:
        answer = http.post(
            "/v1/documents",
            files={"file": ("handbook.pdf", make_pdf(SAMPLE), "application/pdf")},
            data={"title": "Mine", "uri": "file:///h.pdf", "tags": ["x", "y"], "metadata": '{"shelf": 3}'},
        )
        assert answer.status_code == 202
        assert finished(client, answer.json()["job"]["id"])["state"] == "succeeded"
        document = client.call("GET", f"/v1/documents/{answer.json()['document']['id']}")
        assert (document["title"], document["uri"], document["tags"]) == ("Mine", "file:///h.pdf", ["x", "y"])
        assert document["metadata"]["shelf"] == 3
        assert document["media_type"] == "application/pdf"
        content = client.call("GET", f"/v1/documents/{document['id']}/content")
        assert "seventh stone" in content["text"]
        assert content["sha256"] == sha256(content["text"])

    def test_again_is_the_same_document(self, client: Client, http: httpx.Client) -> None:
        files = {"file": ("handbook.docx", make_docx(SAMPLE))}
        first, again = http.post("/v1/documents", files=files), http.post("/v1/documents", files=files)
        assert (first.status_code, again.status_code) == (202, 200)
        assert again.json()["document"]["id"] == first.json()["document"]["id"]
        assert finished(client, first.json()["job"]["id"])["state"] == "succeeded"

    def test_that_is_broken_fails_with_a_reason(self, client: Client, http: httpx.Client) -> None:
        added = http.post("/v1/documents", files={"file": ("broken.pdf", b"%PDF-1.7\nnot really")}).json()
        job = finished(client, added["job"]["id"])
        assert job["state"] == "failed"
        assert job["error"]["type"] == "urn:pegasus:problem:unreadable"
        document = client.call("GET", f"/v1/documents/{added['document']['id']}")
        assert (document["state"], document["error"]["detail"]) == ("failed", job["error"]["detail"])
        assert_problem(http.get(f"/v1/documents/{document['id']}/content"), 409, "conflict")

    @pytest.mark.parametrize("charset", ["nonsense", "zlib", "punycode", "undefined", "\xff", "x" * 1000])
    def test_with_a_charset_that_is_none_is_read_or_refused_but_not_tried_again(
        self, client: Client, http: httpx.Client, charset: str
    ) -> None:
        head = 'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain; charset='
        body = b"--b\r\n" + (head + charset).encode("latin-1") + b"\r\n\r\nThe caf\xe9 opens.\r\n--b--\r\n"
        answer = http.post("/v1/documents", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 202, answer.text
        assert finished(client, answer.json()["job"]["id"], 10)["state"] in ("succeeded", "failed")

    @pytest.mark.parametrize("metadata", ["{", "[]", "7", '{"a":' + "[" * 100_000, "{" + '"a":{' * 5_000])
    def test_with_bad_metadata_is_a_422(self, http: httpx.Client, metadata: str) -> None:
        answer = http.post("/v1/documents", files={"file": ("a.txt", b"text")}, data={"metadata": metadata})
        assert_problem(answer, 422, "invalid")

    def test_without_a_file_is_a_422(self, http: httpx.Client) -> None:
        assert_problem(http.post("/v1/documents", data={"title": "x"}, files={"other": b"x"}), 422, "invalid")

    def test_of_no_bytes_is_refused_or_fails_with_a_reason(self, client: Client, http: httpx.Client) -> None:
        answer = http.post("/v1/documents", files={"file": ("empty.txt", b"")})
        if answer.status_code == 202:
            job = finished(client, answer.json()["job"]["id"])
            assert (job["state"], bool(job["error"]["detail"])) == ("failed", True)
        else:
            assert_problem(answer, 422, "invalid")

    def test_that_is_no_multipart_though_it_says_so_is_a_400(self, http: httpx.Client) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert http.post("/v1/documents", content=b"\x00\xff" * 50, headers=headers).status_code in (400, 422)
        headers = {"Content-Type": "multipart/form-data"}
        assert http.post("/v1/documents", content=b"x", headers=headers).status_code in (400, 422)

    @pytest.mark.parametrize("with_length", [True, False])
    @pytest.mark.parametrize("size", [MAX_UPLOAD + 1, MAX_UPLOAD + 3 * 2**20])
    def test_larger_than_allowed_is_a_413_and_nothing_of_it_is_stored(
        self, small: Application, small_http: httpx.Client, size: int, with_length: bool
    ) -> None:
        before = len(small_http.get("/v1/documents").json()["items"]), len(list(small.files.stored_keys()))
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        body = head + b"x" * size + b"\r\n--b--\r\n"
        blocks: bytes | Iterable[bytes] = body
        if not with_length:
            blocks = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert_problem(small_http.post("/v1/documents", content=blocks, headers=headers), 413, "too-large")
        after = len(small_http.get("/v1/documents").json()["items"]), len(list(small.files.stored_keys()))
        assert after == before

    def test_of_a_zip_is_a_job_with_a_result_for_each_member(self, client: Client, http: httpx.Client) -> None:
        archive = zip_of(one_txt=b"The first member.", two_pdf=b"%PDF-1.7 broken", three_docx=make_docx(SAMPLE))
        answer = http.post("/v1/documents", files={"file": ("all.zip", archive)}, data={"tags": ["zipped"]})
        assert answer.status_code == 202
        assert answer.json()["document"] is None
        job = finished(client, answer.json()["job"]["id"])
        assert job["state"] == "succeeded"
        items = results(http, job["id"])
        assert [item["ordinal"] for item in items] == [1, 2, 3]
        assert {item["name"]: item["state"] for item in items} == {
            "one.txt": "succeeded",
            "two.pdf": "failed",
            "three.docx": "succeeded",
        }
        assert job["result"] == {"items": 3, "failed": 1}
        tagged = client.call("GET", "/v1/documents", params={"tag": "zipped"})
        assert len(tagged["items"]) == 3

    def test_of_another_content_type_is_a_415(self, http: httpx.Client) -> None:
        answer = http.post("/v1/documents", content=b"<a/>", headers={"Content-Type": "application/xml"})
        assert_problem(answer, 415, "unsupported-format")


class TestIdempotencyKey:
    def test_makes_nothing_again_when_the_document_was_erased_and_keeps_nothing_of_it(
        self, client: Client, http: httpx.Client
    ) -> None:
        headers = {"Idempotency-Key": "k1"}
        first = http.post("/v1/documents", json={"text": NOTE}, headers=headers)
        erased = client.call("DELETE", f"/v1/documents/{first.json()['document']['id']}")
        finished(client, erased["job"]["id"])
        again = http.post("/v1/documents", json={"text": NOTE}, headers=headers)
        assert_problem(again, 409, "conflict")
        assert client.call("GET", "/v1/documents")["items"] == []

    def test_with_another_body_is_a_409(self, http: httpx.Client) -> None:
        headers = {"Idempotency-Key": "k1"}
        http.post("/v1/documents", json={"text": NOTE}, headers=headers)
        assert_problem(http.post("/v1/documents", json={"text": "Other."}, headers=headers), 409, "conflict")
        assert len(http.get("/v1/documents").json()["items"]) == 1

    def test_holds_for_uploads(self, http: httpx.Client, client: Client) -> None:
        headers = {"Idempotency-Key": "k2"}
        first = http.post("/v1/documents", files={"file": ("a.zip", zip_of(a_txt=b"Alpha."))}, headers=headers)
        again = http.post("/v1/documents", files={"file": ("a.zip", zip_of(a_txt=b"Alpha."))}, headers=headers)
        assert again.json()["job"]["id"] == first.json()["job"]["id"]
        assert len(client.call("GET", "/v1/jobs")["items"]) <= 2  # The archive's and its member's.
        other = http.post("/v1/documents", files={"file": ("a.txt", b"Beta.")}, headers=headers)
        assert_problem(other, 409, "conflict")
        finished(client, first.json()["job"]["id"])

    def test_holds_for_batches(self, http: httpx.Client, client: Client) -> None:
        headers = {"Idempotency-Key": "k3", "Content-Type": "application/x-ndjson"}
        body = b'{"text": "Only once."}\n'
        jobs = {http.post("/v1/documents/batch", content=body, headers=headers).json()["job"]["id"] for _ in range(2)}
        for job in jobs:
            finished(client, job)
        assert len(jobs) == 1

    @pytest.mark.parametrize("key", ["", "x" * 201])
    def test_that_is_empty_or_too_long_is_a_422(self, http: httpx.Client, key: str) -> None:
        answer = http.post("/v1/documents", json={"text": NOTE}, headers={"Idempotency-Key": key})
        assert_problem(answer, 422, "invalid")


class TestBatch:
    def send(self, http: httpx.Client, blocks: Iterable[bytes]) -> dict:
        answer = http.post(
            "/v1/documents/batch", content=iter(blocks), headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.status_code == 202, answer.text
        job: dict = answer.json()["job"]
        return job

    def test_takes_lines_in_whatever_blocks_they_come(self, client: Client, http: httpx.Client) -> None:
        texts = [f"Line {n} speaks of the 🦄 and the café." for n in range(40)]
        lines = [json.dumps({"text": text, "title": f"T{n}"}, ensure_ascii=n % 2 == 0) for n, text in enumerate(texts)]
        body = "\r\n\n  \r\n".join(lines).encode()  # CRLF, empty lines, no newline at the end.
        job = finished(client, self.send(http, (body[at : at + 7] for at in range(0, len(body), 7)))["id"])
        assert (job["state"], job["result"]) == ("succeeded", {"items": 40, "failed": 0})
        items = results(http, job["id"])
        assert [item["ordinal"] for item in items] == list(range(1, 41))
        assert {(item["outcome"], item["state"]) for item in items} == {("created", "succeeded")}
        for item, text in zip(items[::13], texts[::13], strict=True):
            assert client.call("GET", f"/v1/documents/{item['document_id']}/content")["text"] == text

    def test_refuses_a_bad_line_and_takes_the_others(self, client: Client, http: httpx.Client) -> None:
        body = (
            b'{"text": "Good one."}\nnot json\n{"title": "no text"}\n{"text": "bad \\ud800 half"}\n\xff\xfe\n'
            b'{"text": "nul \\u0000"}\n[]\n{"text": "Good one."}\n' + b"[" * 100_000 + b'\n{"text": "Good two."}'
        )
        job = finished(client, self.send(http, [body])["id"])
        items = results(http, job["id"])
        assert [i["outcome"] for i in items] == ["created", *["refused"] * 6, "unchanged", "refused", "created"]
        assert all(item["error"]["detail"] for item in items if item["outcome"] == "refused")
        assert job["state"] == "succeeded"
        assert job["result"] == {"items": 10, "failed": 7}

    def test_refuses_an_oversized_line_and_takes_the_others(self, small_http: httpx.Client) -> None:
        huge = b'{"text": "' + b"x" * (12 * MAX_TEXT + 2**21) + b'"}'
        blocks = [b'{"text": "Before."}\n', *(huge[at : at + 100_000] for at in range(0, len(huge), 100_000))]
        job = self.send(small_http, [*blocks, b'\n{"text": "After."}\n', *blocks[1:]])
        items = results(small_http, job["id"])
        assert [i["outcome"] for i in items] == ["created", "refused", "created", "refused"]
        assert items[1]["error"]["type"] == "urn:pegasus:problem:too-large"

    def test_names_a_refused_line_by_its_number_in_the_file(self, client: Client, http: httpx.Client) -> None:
        job = finished(client, self.send(http, [b'{"text": "One."}\n\n\nnot json\n'])["id"])
        assert results(http, job["id"])[1]["name"] == "line 4"

    def test_of_no_lines_ends_at_once(self, client: Client, http: httpx.Client) -> None:
        assert finished(client, self.send(http, [])["id"], 5)["result"] == {"items": 0, "failed": 0}

    def test_of_another_content_type_is_a_415(self, http: httpx.Client) -> None:
        answer = http.post("/v1/documents/batch", content=b"text", headers={"Content-Type": "text/plain"})
        assert_problem(answer, 415, "unsupported-format")

    def test_whose_client_goes_away_keeps_what_was_sent_and_ends(
        self, client: Client, http: httpx.Client, address: str
    ) -> None:
        parts = urlsplit(address)
        lines = b"".join(b'{"text": "Sent before the line broke, %d."}\n' % n for n in range(30))
        key = http.headers["x-api-key"].encode()
        head = b"POST /v1/documents/batch HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n"
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
            connection.sendall(head % key + b"%x\r\n" % len(lines) + lines + b"\r\n8\r\n{")
            job = self.open_job(client, some=25)
        assert finished(client, job["id"])["state"] == "succeeded"
        accepted = [item for item in results(http, job["id"]) if item["outcome"] == "created"]
        assert len(accepted) == 30

    def open_job(self, client: Client, some: int) -> dict:
        """The workspace's one batch, once it has taken some lines."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            for job in client.call("GET", "/v1/jobs", params={"state": "running", "limit": 200})["items"]:
                if job["kind"] == "batch":
                    open_one: dict = client.call("GET", f"/v1/jobs/{job['id']}")
                    if open_one["progress"]["total"] >= some:
                        return open_one
            time.sleep(0.02)
        raise AssertionError("no batch has begun")


class TestList:
    def test_walks_everything_exactly_once_newest_first(self, client: Client) -> None:
        ids = [
            add_text(client, f"Document number {n}.", tags=["odd"] if n % 2 else [])["document"]["id"] for n in range(7)
        ]
        assert walk(client, "/v1/documents") == ids[::-1]
        assert walk(client, "/v1/documents", tag="odd") == ids[1::2][::-1]
        assert walk(client, "/v1/documents", tag="nobody's") == []

    def test_finds_a_document_by_its_uri(self, client: Client) -> None:
        added = add_text(client, NOTE, uri="note://a?b=c&d=%20")
        add_text(client, "Other.", uri="note://other")
        assert walk(client, "/v1/documents", uri="note://a?b=c&d=%20") == [added["document"]["id"]]

    @pytest.mark.parametrize("limit", ["0", "201", "x", "-1", "9" * 5000])
    def test_with_a_bad_limit_is_a_422(self, http: httpx.Client, limit: str) -> None:
        assert_problem(http.get("/v1/documents", params={"limit": limit}), 422, "invalid")


class TestErasure:
    def test_hides_the_document_at_once_and_then_removes_it(self, client: Client, http: httpx.Client) -> None:
        document = add_text(client, "The secret ingredient is cardamom.")["document"]
        answer = http.delete(f"/v1/documents/{document['id']}")
        assert answer.status_code == 202
        found = client.call("POST", "/v1/search", json={"query": "cardamom"})
        assert document["id"] not in [p["document_id"] for p in found["passages"]]
        assert http.get(f"/v1/documents/{document['id']}/content").status_code == 404
        job = finished(client, answer.json()["job"]["id"])
        assert (job["kind"], job["state"]) == ("erase", "succeeded")
        assert_problem(http.get(f"/v1/documents/{document['id']}"), 404, "not-found")
        assert_problem(http.delete(f"/v1/documents/{document['id']}"), 404, "not-found")
        assert client.call("GET", "/v1/documents")["items"] == []

    def test_lets_the_same_content_come_in_again_as_new(self, client: Client) -> None:
        first = add_text(client, NOTE, uri="note://x")
        finished(client, client.call("DELETE", f"/v1/documents/{first['document']['id']}")["job"]["id"])
        second = add_text(client, NOTE, uri="note://x")
        assert second["document"]["id"] != first["document"]["id"]
        assert finished(client, second["job"]["id"])["state"] == "succeeded"


def test_a_retry_that_works_clears_the_error_of_the_document(tmp_path: Path) -> None:
    quick = load_settings(data=tmp_path, embedder="hash", parse_timeout_seconds=0.001)
    with embedded(quick) as running, serving_in_background(running) as address, _keyed(running, address) as client:
        added = client.call("POST", "/v1/documents", files={"file": ("a.pdf", make_pdf(SAMPLE))})
        assert finished(client, added["job"]["id"])["state"] == "failed"
    patient = load_settings(data=tmp_path, embedder="hash")
    with embedded(patient) as running, serving_in_background(running) as address, _keyed(running, address) as client:
        client.call("POST", f"/v1/jobs/{added['job']['id']}/retry")
        assert finished(client, added["job"]["id"])["state"] == "succeeded"
        document = client.call("GET", f"/v1/documents/{added['document']['id']}")
        assert (document["state"], document["error"]) == ("ready", None)


class _keyed:  # noqa: N801 - reads as the function that it stands for.
    """A client with a key of the application's local workspace."""

    def __init__(self, application: Application, address: str) -> None:
        with application.relational.write() as tx:
            _, key = access.create_key(tx, access.ensure_workspace(tx), "test")
        self.client = Client(address, key)

    def __enter__(self) -> Client:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()


def test_reading_another_documents_id_is_told_as_a_problem(client: Client) -> None:
    with pytest.raises(ProblemError, match="There is no document"):
        client.call("GET", "/v1/documents/0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1")


class Heard:
    """A signal that remembers what it was told."""

    def __init__(self) -> None:
        self.lanes: list[str] = []

    def notify(self, lane: str) -> None:
        self.lanes.append(lane)

    def notify_all(self) -> None:
        self.lanes.append("all")


def test_only_the_lane_of_its_job_is_told_of_a_document(small: Application) -> None:
    with small.relational.write() as tx:
        _, key = access.create_key(tx, access.ensure_workspace(tx), "test")
    heard = Heard()
    api = create_api(replace(small, signal=heard))
    with TestClient(api, base_url="http://localhost", headers={"X-API-Key": key}) as http:
        note = {"text": "Whoever adds it rings once."}
        assert [http.post("/v1/documents", json=note).status_code for _ in range(2)] == [202, 200]
        assert heard.lanes == ["index"], "a text is read already, and one that is known needs no job"
        file = {"file": ("note.txt", b"A file is read by its job.", "text/plain")}
        assert http.post("/v1/documents", files=file).status_code == 202
        assert heard.lanes == ["index", "read"]
