"""The contract of ``FileStore``, kept by every adapter."""

from __future__ import annotations

import hashlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from servers import ACCESS_KEY_ID, SECRET_ACCESS_KEY, S3Server

from pegasus.adapters.files import FolderFileStore
from pegasus.adapters.s3_files import S3FileStore
from pegasus.adapters.s3_signature import S3Signatures
from pegasus.errors import Invalid, NotFound, TooLarge, Unreadable
from pegasus.identifiers import new_id, sha256_hex, upload_key
from pegasus.ports import FileStore, SignedRequest

LIMIT = 1_000_000
WORKSPACE = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3FileStore:
    """A store of the test's own, beside others in one bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    return S3FileStore(
        s3.bucket, f"tests/{new_id()}", region="us-east-1", endpoint=s3.endpoint, sign=S3Signatures()
    )  # fmt: skip


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    if request.param == "s3":
        made: S3FileStore = request.getfixturevalue("bucket")
        return made
    folder = tmp_path / "files"
    folder.mkdir()
    return FolderFileStore(folder)


class Breaking(io.RawIOBase):
    """A stream that gives one block and then fails, as a damaged member of an archive does."""

    def __init__(self, error: BaseException) -> None:
        self._error, self._given = error, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        if self._given:
            raise self._error
        self._given = True
        buffer[:4] = b"part"
        return 4


def put(store: FileStore, content: bytes, max_bytes: int = LIMIT) -> str:
    return store.put(WORKSPACE, io.BytesIO(content), max_bytes)[0]


def content_of(store: FileStore, key: str) -> bytes:
    with store.path(key) as path:
        return path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"text", bytes(range(256)) * 3_000])
def test_a_file_comes_back_as_it_was_with_its_digest_and_size(store: FileStore, content: bytes) -> None:
    key, sha256, size = store.put(WORKSPACE, io.BytesIO(content), LIMIT)
    assert content_of(store, key) == content
    assert (sha256, size) == (hashlib.sha256(content).hexdigest(), len(content))


def test_the_limit_itself_is_allowed(store: FileStore) -> None:
    assert content_of(store, put(store, b"12345", max_bytes=5)) == b"12345"


def test_a_file_over_the_limit_leaves_nothing_behind(store: FileStore) -> None:
    for size in (6, 600_000):
        with pytest.raises(TooLarge):
            put(store, b"x" * size, max_bytes=5)
    assert list(store.stored_keys()) == []


@pytest.mark.parametrize("error", [Unreadable("a damaged member"), OSError("a lost disk"), ValueError("a closed file")])
def test_a_stream_that_breaks_off_leaves_nothing_behind(store: FileStore, error: Exception) -> None:
    with pytest.raises(Exception):  # noqa: B017 - which one is the next test's.
        store.put(WORKSPACE, Breaking(error), LIMIT)  # type: ignore[arg-type]
    assert list(store.stored_keys()) == []


def test_what_the_stream_says_of_itself_is_passed_on(store: FileStore) -> None:
    with pytest.raises(Unreadable, match="damaged"):
        store.put(WORKSPACE, Breaking(Unreadable("a damaged member")), LIMIT)  # type: ignore[arg-type]


def test_the_same_content_again_is_a_file_of_its_own(store: FileStore) -> None:
    first, second = put(store, b"same"), put(store, b"same")
    store.delete(first)
    assert list(store.stored_keys()) == [second]
    assert content_of(store, second) == b"same"


def test_a_key_owes_nothing_to_the_name_that_a_caller_gave(store: FileStore, tmp_path: Path) -> None:
    source = tmp_path / "..evil name.txt"
    source.write_bytes(b"evil content")
    with source.open("rb") as stream:
        key, sha256, _ = store.put(WORKSPACE, stream, LIMIT)
    assert "evil" not in key
    assert ".." not in key
    assert sha256 not in key
    assert WORKSPACE in key


@pytest.mark.parametrize("key", ["unknown", f"{WORKSPACE}/00/{'0' * 32}"])
def test_an_unknown_key_is_not_found_and_deleting_it_does_nothing(store: FileStore, key: str) -> None:
    with pytest.raises(NotFound), store.path(key):
        pass
    kept = put(store, b"x")
    store.delete(key)
    assert list(store.stored_keys()) == [kept]


def test_a_deleted_file_is_gone(store: FileStore) -> None:
    key = put(store, b"x")
    for _ in range(2):
        store.delete(key)
    with pytest.raises(NotFound), store.path(key):
        pass
    assert list(store.stored_keys()) == []


def test_the_keys_of_all_workspaces_are_listed(store: FileStore) -> None:
    keys = {store.put(new_id(), io.BytesIO(b"x"), LIMIT)[0] for _ in range(5)}
    assert set(store.stored_keys()) == keys


def test_the_files_of_a_dropped_workspace_are_gone_and_no_others(store: FileStore) -> None:
    mine, kept = new_id(), store.put(new_id(), io.BytesIO(b"x"), LIMIT)[0]
    for _ in range(5):
        store.put(mine, io.BytesIO(b"x"), LIMIT)
    for _ in range(2):
        store.drop(mine)
    assert list(store.stored_keys()) == [kept]
    key = store.put(mine, io.BytesIO(b"x"), LIMIT)[0]
    assert set(store.stored_keys()) == {key, kept}


@pytest.mark.parametrize("other", ["", ".", "..", "../files", "*", "/"])
def test_nothing_but_a_workspace_is_dropped(store: FileStore, other: str) -> None:
    kept = put(store, b"x")
    with pytest.raises(Invalid):
        store.drop(other)
    assert list(store.stored_keys()) == [kept]


def test_threads_store_at_once(store: FileStore) -> None:
    contents = [bytes([n]) * 100_000 for n in range(20)]
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda content: put(store, content), contents, timeout=30))
    assert [content_of(store, key) for key in keys] == contents
    store.ping()


def test_a_file_is_put_back_under_the_key_that_it_had_and_under_no_other(store: FileStore) -> None:
    key = put(store, b"content")
    store.delete(key)
    assert store.put_back(key, io.BytesIO(b"content")) == hashlib.sha256(b"content").hexdigest()
    for refused in (key, "../x", f"{key}/../../x", key.upper(), "", f"{key}\n", f"/{key}"):
        with pytest.raises(Invalid):
            store.put_back(refused, io.BytesIO(b"x"))
    with store.path(key) as path:
        assert path.read_bytes() == b"content"
    assert list(store.stored_keys()) == [key]


def test_of_a_stream_that_fails_nothing_is_put_back(store: FileStore) -> None:
    key = put(store, b"content")
    store.delete(key)
    with pytest.raises(Unreadable):
        store.put_back(key, Breaking(Unreadable("damaged")))
    assert list(store.stored_keys()) == []


CONTENT = b"what a client sends by itself " * 1_000


def new_upload(workspace_id: str = WORKSPACE) -> str:
    return upload_key(workspace_id, new_id())


def receive(store: FileStore, upload: str, content: bytes, announced: bytes = CONTENT) -> None:
    store.receive(upload, io.BytesIO(content), len(announced), sha256_hex(announced))


class TestAnUpload:
    def test_is_no_file_until_it_is_adopted_and_stays_until_it_is_discarded(self, store: FileStore) -> None:
        upload = new_upload()
        for _ in range(2):  # A client whose connection broke sends it again.
            receive(store, upload, CONTENT)
        assert list(store.stored_keys()) == []
        keys = [store.adopt(WORKSPACE, upload) for _ in range(2)]
        assert sorted(store.stored_keys()) == sorted(keys)
        for _ in range(2):
            store.discard(upload)
        assert [content_of(store, key) for key in keys] == [CONTENT, CONTENT]
        with pytest.raises(NotFound):
            store.adopt(WORKSPACE, upload)

    @pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"x"])
    def test_of_other_bytes_is_refused_and_leaves_what_was_there(self, store: FileStore, content: bytes) -> None:
        first, second = new_upload(), new_upload()
        receive(store, first, CONTENT)
        for upload in (first, second):
            with pytest.raises(Invalid):
                receive(store, upload, content)
        assert content_of(store, store.adopt(WORKSPACE, first)) == CONTENT
        with pytest.raises(NotFound):
            store.adopt(WORKSPACE, second)
        store.discard(first)
        assert store.sweep(time.time() + 3_600) == 0

    def test_that_nothing_came_of_is_swept_once_it_is_old_and_files_are_not(self, store: FileStore) -> None:
        kept = put(store, b"x")
        uploads = [new_upload(), new_upload(new_id())]
        for upload in uploads:
            receive(store, upload, CONTENT)
        assert store.sweep(time.time() - 60) == 0
        assert store.sweep(time.time() + 60) == 2
        assert list(store.stored_keys()) == [kept]
        with pytest.raises(NotFound):
            store.adopt(WORKSPACE, uploads[0])

    def test_goes_with_its_workspace(self, store: FileStore) -> None:
        mine, other = new_upload(), new_upload(new_id())
        for upload in (mine, other):
            receive(store, upload, CONTENT)
        store.drop(WORKSPACE)
        with pytest.raises(NotFound):
            store.adopt(WORKSPACE, mine)
        assert content_of(store, store.adopt(WORKSPACE, other)) == CONTENT


def offer(bucket: S3FileStore, upload: str, seconds: int = 60) -> SignedRequest:
    made = bucket.offer(upload, len(CONTENT), sha256_hex(CONTENT), seconds)
    assert made
    return made


def sent(request: SignedRequest, content: bytes, **headers: str) -> int:
    with httpx.Client(trust_env=False) as http:
        return http.put(request.url, content=content, headers={**request.headers, **headers}).status_code


class TestASignedRequest:
    def test_puts_the_bytes_that_it_was_made_for_as_often_as_they_are_sent(self, bucket: S3FileStore) -> None:
        upload = new_upload()
        request = offer(bucket, upload)
        assert SECRET_ACCESS_KEY not in str(request)
        # What a client sends to every address, a type or a key, does not keep it from this one.
        assert sent(request, CONTENT, **{"Content-Type": "application/pdf", "X-API-Key": "pgs_x"}) == 200
        assert sent(request, CONTENT) == 200
        assert content_of(bucket, bucket.adopt(WORKSPACE, upload)) == CONTENT

    @pytest.mark.parametrize(
        ("content", "headers", "status"),
        [
            (CONTENT[:-1] + b"x", {}, 400),
            (CONTENT + b"x", {}, 403),
            (CONTENT[:-1], {}, 403),
            (b"", {}, 403),
            (CONTENT, {"x-amz-checksum-sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, 403),
        ],
    )
    def test_puts_no_others(
        self, bucket: S3FileStore, content: bytes, headers: dict[str, str], status: int
    ) -> None:  # fmt: skip
        upload = new_upload()
        assert sent(offer(bucket, upload), content, **headers) == status
        with pytest.raises(NotFound):
            bucket.adopt(WORKSPACE, upload)

    def test_is_for_one_upload_and_ends(self, bucket: S3FileStore) -> None:
        one, other = new_upload(), new_upload()
        request = offer(bucket, one, seconds=1)
        elsewhere = SignedRequest(request.url.replace(one, other), request.headers)
        assert sent(elsewhere, CONTENT) == 403
        until = time.monotonic() + 20
        while sent(request, CONTENT) != 403:
            assert time.monotonic() < until
            time.sleep(0.2)

    def test_is_not_made_where_clients_cannot_reach_the_store(self, s3: S3Server, bucket: S3FileStore) -> None:
        unreachable = S3FileStore(s3.bucket, region="us-east-1", endpoint=s3.endpoint)
        assert unreachable.offer(new_upload(), 1, sha256_hex(b"x"), 60) is None


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_without_tls_may_be_named_by_the_environment(
    s3: S3Server, bucket: S3FileStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, s3.endpoint)
    store = S3FileStore(s3.bucket, f"tests/{new_id()}", region="us-east-1")
    key, _, _ = store.put(WORKSPACE, io.BytesIO(b"kept"), LIMIT)
    with store.path(key) as path:
        assert path.read_bytes() == b"kept"
