"""Files that clients announce, send by themselves and hand in: into a folder, a bucket, or a bucket behind the API.

Each test runs on all three, as nothing that a client sees may differ between them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from calls import assert_problem, send_upload
from conftest import finished
from servers import REGION
from tier import CREDENTIALS

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.bootstrap import embedded
from pegasus.client import Client
from pegasus.domain import Rate
from pegasus.identifiers import new_id, sha256_hex
from pegasus.samples import SampleDocument, make_pdf
from pegasus.server import serving_in_background
from pegasus.settings import load_settings
from pegasus.uploads import service as uploads

MAX_UPLOAD = 200_000
DAY_SECONDS = 86_400


@dataclass
class Tenant:
    """A workspace of its own in one of the three."""

    application: Application
    client: Client
    http: httpx.Client
    workspace_id: str

    def announce(self, content: bytes, filename: str = "note.md", **headers: str) -> httpx.Response:
        body = {"filename": filename, "size_bytes": len(content), "sha256": sha256_hex(content)}
        return self.http.post("/v1/uploads", json=body, headers=headers)

    def hand_in(self, upload: dict[str, Any], key: str | None = None, **fields: Any) -> httpx.Response:
        body = {"upload_id": upload["id"], **fields}
        return self.http.post("/v1/documents", json=body, headers={"Idempotency-Key": key} if key else {})

    def put(self, content: bytes, filename: str = "note.md") -> dict[str, Any]:
        upload: dict[str, Any] = self.announce(content, filename).json()
        assert send_upload(upload, content) == 200
        return upload

    def age(self, seconds: float) -> None:
        with self.application.relational.write() as tx:
            tx.execute(
                "UPDATE uploads SET created_at = created_at - :s WHERE workspace_id = :w",
                {"s": seconds, "w": self.workspace_id},
            )

    def files(self) -> list[str]:
        return [key for key in self.application.files.stored_keys() if key.startswith(self.workspace_id)]


def unique(text: str = "The ferryman's name") -> bytes:
    return f"# Note\n\n{text} is {new_id()}.".encode()


@pytest.fixture(scope="module", params=["folder", "bucket", "behind"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    directory = tmp_path_factory.mktemp(request.param)
    place: str = str(directory / "elsewhere")
    with ExitStack() as stack:
        if request.param != "folder":
            server = request.getfixturevalue("s3")
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for name, value in CREDENTIALS.items():
                patch.setenv(name, value)
            place = f"s3://{server.bucket}/{new_id()}?region={REGION}&endpoint={server.endpoint}"
        settings = load_settings(
            data=directory, embedder="hash", max_upload_bytes=MAX_UPLOAD, files_url=place,
            direct_uploads=request.param == "bucket",
        )  # fmt: skip
        yield stack.enter_context(embedded(settings))


@pytest.fixture(scope="module")
def its_address(running: Application) -> Iterator[str]:
    with serving_in_background(running) as address:
        yield address


@pytest.fixture
def tenants(running: Application, its_address: str) -> Iterator[Callable[..., Tenant]]:
    """Makes one more, with limits of its key."""
    with ExitStack() as stack:

        def make(**limits: Any) -> Tenant:
            with running.relational.write() as tx:
                workspace_id = access.create_workspace(tx, "test")
                _, key = access.create_key(tx, workspace_id, "test", **limits)
            headers = {"X-API-Key": key}
            http = stack.enter_context(httpx.Client(base_url=its_address, headers=headers, timeout=60, trust_env=False))
            client = stack.enter_context(closing(Client(its_address, key)))
            return Tenant(running, client, http, workspace_id)

        yield make


@pytest.fixture
def tenant(tenants: Callable[..., Tenant]) -> Tenant:
    return tenants()


def test_a_file_that_was_sent_by_itself_becomes_a_document(tenant: Tenant, its_address: str) -> None:
    content = make_pdf(SampleDocument("Ferry", [("Crossing", [f"The ferryman's name is Bertrand {new_id()}."])]))
    announced = tenant.announce(content, "ferry.pdf")
    assert announced.status_code == 201
    upload = announced.json()
    direct = tenant.application.settings.direct_uploads
    assert upload["url"].startswith(its_address) != direct
    assert send_upload(upload, content) == 200
    answer = tenant.hand_in(upload, title="The ferry", uri="file:///ferry.pdf", tags=["trip"], metadata={"by": "Anna"})
    assert answer.status_code == 202
    document, job = answer.json()["document"], answer.json()["job"]
    assert (document["sha256"], document["size_bytes"]) == (sha256_hex(content), len(content))
    assert finished(tenant.client, job["id"])["state"] == "succeeded"
    read = tenant.client.call("GET", f"/v1/documents/{document['id']}")
    assert (read["title"], read["media_type"], read["state"]) == ("The ferry", "application/pdf", "ready")
    assert (read["uri"], read["tags"], read["metadata"]["by"]) == ("file:///ferry.pdf", ["trip"], "Anna")
    assert "Bertrand" in tenant.client.call("GET", f"/v1/documents/{document['id']}/content")["text"]
    assert len(tenant.files()) == 1
    with tenant.application.relational.read() as tx:
        events = tx.all("SELECT action FROM audit_events WHERE workspace_id = :w ORDER BY position",
                        {"w": tenant.workspace_id})  # fmt: skip
    assert [event["action"] for event in events] == ["upload.announced", "document.added"]


def test_an_archive_that_was_sent_by_itself_is_unpacked(tenant: Tenant) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.md", unique())
    answer = tenant.hand_in(tenant.put(packed.getvalue(), "notes.zip"))
    assert (answer.status_code, answer.json()["document"]) == (202, None)
    job = finished(tenant.client, answer.json()["job"]["id"])
    assert (job["state"], job["result"]) == ("succeeded", {"items": 3, "failed": 0})


def test_content_that_is_known_is_the_same_document(tenant: Tenant) -> None:
    content = unique()
    first = tenant.http.post("/v1/documents", files={"file": ("note.md", content)}).json()
    finished(tenant.client, first["job"]["id"])
    answer = tenant.hand_in(tenant.put(content), uri="note://again")
    assert (answer.status_code, answer.json()["job"]) == (200, None)
    assert answer.json()["document"]["id"] == first["document"]["id"]
    assert len(tenant.files()) == 1


def test_the_bytes_may_be_sent_again_until_they_are_handed_in(tenant: Tenant) -> None:
    content = unique()
    upload = tenant.put(content)
    assert send_upload(upload, content) == 200
    assert tenant.hand_in(upload).status_code == 202
    # A doubled request of a slow network: it changes nothing any more.
    assert send_upload(upload, content) == 200
    assert tenant.hand_in(upload).status_code == 409
    assert len(tenant.files()) == 1


def test_other_bytes_than_were_announced_are_refused(tenant: Tenant) -> None:
    content = unique()
    upload = tenant.announce(content).json()
    for sent, status in ((content[:-1] + b"x", 400), (content + b"x", 403), (content[:-1], 403), (b"", 403)):
        assert send_upload(upload, sent) == status
    assert_problem(tenant.hand_in(upload), 409, "conflict")
    assert send_upload(upload, content) == 200
    assert tenant.hand_in(upload).status_code == 202


def test_a_url_that_was_tampered_with_is_refused(tenant: Tenant) -> None:
    content = unique()
    upload, other = tenant.announce(content).json(), tenant.announce(content).json()
    url, last = upload["url"], upload["url"][-1]  # Its token's or its signature's
    for tampered in (url[:-1] + ("1" if last == "0" else "0"), url[:-1], url.replace(upload["id"], other["id"])):
        assert send_upload({**upload, "url": tampered}, content) == 403
    assert_problem(tenant.hand_in(upload), 409, "conflict")


def test_what_is_too_large_is_refused_before_it_is_sent(tenant: Tenant, tenants: Callable[..., Tenant]) -> None:
    body = {"size_bytes": MAX_UPLOAD + 1, "sha256": sha256_hex(b"")}
    assert_problem(tenant.http.post("/v1/uploads", json=body), 413, "too-large")
    assert tenant.http.post("/v1/uploads", json=body | {"size_bytes": MAX_UPLOAD}).status_code == 201
    small = tenants(max_body_bytes=1_000)
    assert_problem(small.announce(b"x" * 1_001), 413, "too-large")
    assert small.announce(b"x" * 1_000).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {"size_bytes": -1, "sha256": "0" * 64}, {"size_bytes": 2**63, "sha256": "0" * 64}, {"size_bytes": 1},
        {"size_bytes": 1, "sha256": "0" * 63}, {"size_bytes": 1, "sha256": "Z" * 64}, {"sha256": "0" * 64},
        {"size_bytes": 1, "sha256": "0" * 64, "url": "http://example.org"},
    ],
)  # fmt: skip
def test_what_is_announced_has_a_form(tenant: Tenant, body: dict[str, Any]) -> None:
    assert_problem(tenant.http.post("/v1/uploads", json=body), 422, "invalid")


@pytest.mark.parametrize("fields", [{"text": "x"}, {"filename": "x"}, {"upload_id": 1}, {"tags": "x"}])
def test_what_is_handed_in_has_a_form(tenant: Tenant, fields: dict[str, Any]) -> None:
    assert_problem(tenant.hand_in({"id": new_id()}, **fields), 422, "invalid")


def test_an_upload_of_another_workspace_is_none(tenant: Tenant, tenants: Callable[..., Tenant]) -> None:
    upload = tenant.put(unique())
    stranger = tenants()
    for upload_id in (upload["id"], new_id(), "x", "../x"):
        assert_problem(stranger.hand_in({"id": upload_id}), 404, "not-found")
    assert tenant.hand_in(upload).status_code == 202


def test_a_request_with_the_same_idempotency_key_is_done_once(tenant: Tenant) -> None:
    content = unique()
    first, again = (tenant.announce(content, **{"Idempotency-Key": "announce"}).json() for _ in range(2))
    assert first == again
    assert send_upload(first, content) == 200
    answers = [tenant.hand_in(first, key="hand-in") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert_problem(tenant.hand_in(first, key="hand-in", title="Other"), 409, "conflict")
    assert len(tenant.files()) == 1


def test_of_many_who_hand_it_in_at_once_one_does(tenant: Tenant) -> None:
    upload = tenant.put(unique())
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda _: tenant.hand_in(upload).status_code, range(8), timeout=60))
    assert statuses == [202] + [409] * 7
    assert len(tenant.files()) == 1


def test_after_a_day_it_cannot_be_handed_in_and_nothing_of_it_is_left(tenant: Tenant) -> None:
    content = unique()
    upload = tenant.put(content)
    tenant.age(3_601)
    if not tenant.application.settings.direct_uploads:  # That of a bucket has its end in its signature.
        assert send_upload(upload, content) == 403
    tenant.age(DAY_SECONDS - 3_600)
    assert_problem(tenant.hand_in(upload), 404, "not-found")
    tenant.age(3_600)
    # The bytes cannot be made older than they are; the contract of the stores has it that old ones go.
    assert uploads.tidy(tenant.application.relational, tenant.application.files) == 1
    with tenant.application.relational.read() as tx:
        assert tx.one("SELECT 1 FROM uploads WHERE workspace_id = :w", {"w": tenant.workspace_id}) is None
    assert tenant.files() == []


def test_what_is_sent_without_its_length_is_refused(tenant: Tenant) -> None:
    content = unique()
    upload = tenant.announce(content).json()
    with httpx.Client(trust_env=False) as http:
        answer = http.put(upload["url"], headers=upload["headers"], content=iter([content]))
    assert answer.status_code == 403


def test_an_erased_document_leaves_no_byte_of_its_upload(tenant: Tenant) -> None:
    everything_old = 2**33
    tenant.application.files.sweep(everything_old)  # Of other tests
    document = tenant.hand_in(tenant.put(unique())).json()["document"]
    job = tenant.client.call("DELETE", f"/v1/documents/{document['id']}")["job"]
    assert finished(tenant.client, job["id"])["state"] == "succeeded"
    assert tenant.files() == []
    assert tenant.application.files.sweep(everything_old) == 0


def test_announcing_counts_towards_the_rate_of_the_key(tenants: Callable[..., Tenant]) -> None:
    tenant = tenants(rate_limit=Rate.parse("2/hour"))
    assert [tenant.announce(b"x").status_code for _ in range(3)] == [201, 201, 429]
