"""The contract of ``FileStore``, kept by every adapter."""

from __future__ import annotations

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import ACCESS_KEY_ID, SECRET_ACCESS_KEY, S3Server

from pegasus.adapters.files import FolderFileStore
from pegasus.adapters.s3_files import S3FileStore
from pegasus.errors import Invalid, NotFound, TooLarge, Unreadable
from pegasus.identifiers import new_id
from pegasus.ports import FileStore

LIMIT = 1_000_000
WORKSPACE = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3FileStore:
    """A store of the test's own, beside others in one bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    return S3FileStore(s3.bucket, f"tests/{new_id()}", region="us-east-1", endpoint=s3.endpoint)


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
