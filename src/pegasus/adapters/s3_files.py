"""Original files as objects of an S3 bucket, through obstore, each under the key that a folder would give it.

Encryption, versions and how long an upload that was cut off is kept are the bucket's to say, not ours. Credentials are
found as every AWS program finds them: in the environment, or from the role of the task or machine.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qs

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from pegasus.errors import Invalid, Misconfigured, NotFound, PegasusError, TooLarge, Unavailable
from pegasus.identifiers import UPLOADS, is_file_key, is_id, new_file_key, new_id
from pegasus.ports import ByteSource, SignedRequest

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig, S3Config

log = structlog.get_logger(__name__)

_BLOCK = 2**20
# Smaller files are one request; a larger one goes in parts of this size, some of them at a time.
_PART_BYTES = 8 * 2**20
_DELETED_AT_ONCE = 1_000
_RETRIES = 3
# A part is on its way for a second or two. Who sends a file waits for so long that the service says nothing.
_SILENCE_SECONDS, _WHOLE_SECONDS = 15, 600


# (URL, region, headers, seconds) -> the URL with a signature that is good for no other request, for so long.
Sign = Callable[[str, str, Mapping[str, str], int], str]


class S3FileStore:
    """A bucket that is away does not keep Pegasus from starting; one that refuses it, or is not there, does.

    A file is read to its end into a passing file before anything is sent: what is too large or breaks off leaves
    nothing in the bucket, and a part can be sent again.
    """

    def __init__(
        self, bucket: str, prefix: str = "", *, region: str | None = None, endpoint: str | None = None,
        silence_seconds: float = _SILENCE_SECONDS, sign: Sign | None = None,
    ) -> None:  # fmt: skip
        """``endpoint``: of a service other than AWS's own, as http(s)://host:port. ``sign``: where clients may put
        uploads into the bucket themselves. Raises ``Misconfigured``."""
        self._bucket, self._sign = bucket, sign
        config: S3Config = {"checksum_algorithm": "sha256"}
        client: ClientConfig = {
            "user_agent": "Pegasus", "connect_timeout": "5s", "read_timeout": f"{silence_seconds}s",
            "timeout": f"{_WHOLE_SECONDS}s",
        }  # fmt: skip
        if region:
            config["region"] = region
        if endpoint:
            config |= {"endpoint": endpoint.rstrip("/"), "virtual_hosted_style_request": False}
        # The driver finds it in the environment by itself, but not that whoever named it so wants no TLS.
        named = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        client["allow_http"] = named.startswith("http:")
        retry: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=silence_seconds)}
        self._store = S3Store(
            bucket, prefix=prefix.strip("/") or None, config=config, client_options=client, retry_config=retry
        )
        try:
            self.ping()
        except _Refused as error:
            raise Misconfigured(error.detail, hint=error.hint) from error
        except Unavailable as error:
            log.warning("files.unavailable", error=error.detail)

    def put(self, workspace_id: str, source: IO[bytes], max_bytes: int) -> tuple[str, str, int]:
        key = new_file_key(workspace_id)
        digest, size = self._write(key, source, max_bytes)
        return key, digest, size

    def put_back(self, key: str, source: ByteSource) -> str:
        if not is_file_key(key) or self._exists(key):
            raise Invalid(f"No file can be put under the key {key[:200]!r}.")
        return self._write(key, source, None)[0]

    def _exists(self, key: str) -> bool:
        try:
            with self._told(key):
                obstore.head(self._store, key)
        except NotFound:
            return False
        return True

    def _write(self, key: str, source: ByteSource, max_bytes: int | None) -> tuple[str, int]:
        with _read_to_the_end(source, max_bytes) as (file, sha256, size):
            self._send(key, file, size)
        return sha256, size

    def _send(self, key: str, file: IO[bytes], size: int) -> None:
        with self._told(key):
            obstore.put(self._store, key, file, use_multipart=size > _PART_BYTES, chunk_size=_PART_BYTES)

    @contextmanager
    def path(self, key: str) -> Iterator[Path]:
        with _passing_file() as file:
            with self._told(key):
                if not is_file_key(key):  # Of another's making, if it is there at all.
                    raise FileNotFoundError(key)
                for block in obstore.get(self._store, key).stream(min_chunk_size=_BLOCK):
                    with _kept():  # A full disk here is no fault of the service.
                        file.write(block)
            with _kept():
                file.flush()
            yield Path(file.name)

    def delete(self, key: str) -> None:
        with self._told(key):
            obstore.delete(self._store, key)

    def drop(self, workspace_id: str) -> None:
        if not is_id(workspace_id):  # A restored row may say anything, and this becomes a prefix.
            raise Invalid(f"{workspace_id[:100]!r} is not the id of a workspace.")
        self._delete(entry["path"] for entry in self._list(workspace_id) if is_file_key(entry["path"]))
        self._delete(entry["path"] for entry in self._list(f"{UPLOADS}/{workspace_id}"))

    def _delete(self, keys: Iterator[str]) -> int:
        deleted = 0
        while some := list(itertools.islice(keys, _DELETED_AT_ONCE)):
            with self._told(f"the bucket {self._bucket}"):
                obstore.delete(self._store, some)
            deleted += len(some)
        return deleted

    def stored_keys(self) -> Iterator[str]:
        """Of objects that such a store made; others, which may share the bucket, are none of ours to list or delete."""
        return (entry["path"] for entry in self._list(None) if is_file_key(entry["path"]))

    def _list(self, folder: str | None) -> Iterator[ObjectMeta]:
        pages = iter(obstore.list(self._store, prefix=folder))
        while True:
            with self._told(f"the bucket {self._bucket}"):
                page = next(pages, None)
            if page is None:
                return
            yield from page

    def offer(self, upload: str, size_bytes: int, sha256: str, seconds: int) -> SignedRequest | None:
        if self._sign is None:
            return None
        with self._told(upload):
            # It knows address and region; but what it signs itself would let any bytes in.
            url, _, query = obstore.sign(self._store, "PUT", upload, timedelta(seconds=seconds)).partition("?")
        region = parse_qs(query)["X-Amz-Credential"][0].split("/")[2]
        headers = {"x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode()}
        signed = {**headers, "content-length": str(size_bytes)}  # Which every client sends by itself.
        return SignedRequest(self._sign(url, region, signed, seconds), headers)

    def receive(self, upload: str, source: ByteSource, size_bytes: int, sha256: str) -> None:
        with _read_to_the_end(source, None) as (file, *found):
            if found != [sha256, size_bytes]:
                raise Invalid("These are not the bytes that were announced.", hint="Send the file of that SHA-256.")
            self._send(upload, file, size_bytes)

    def adopt(self, workspace_id: str, upload: str) -> str:
        key = new_file_key(workspace_id)
        with self._told(upload):
            obstore.copy(self._store, upload, key)
        return key

    def discard(self, upload: str) -> None:
        self.delete(upload)

    def sweep(self, before: float) -> int:
        return self._delete(
            entry["path"] for entry in self._list(UPLOADS) if entry["last_modified"].timestamp() < before
        )

    def ping(self) -> None:
        """By asking for what is not there: a listing would have a thousand names each time."""
        try:
            with self._told(f"the bucket {self._bucket}"):
                obstore.get(self._store, f"ping-{new_id()}")
        except NotFound:
            return
        raise Unavailable(
            f"The bucket {self._bucket} cannot be used now: what answers for it says yes to everything.",
            hint="See what stands at the endpoint of PEGASUS_FILES_URL, such as the page of a network's login.",
        )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of the service as ours; whatever a caller's stream raises is not called within."""
        try:
            yield
        except (BaseError, OSError) as error:
            raise self._as_ours(error, what) from error

    def _as_ours(self, error: Exception, what: str) -> PegasusError:
        reason = _reason(error)
        if "NoSuchBucket" in str(error):
            return _Refused(f"There is no bucket {self._bucket}.", hint="Make it, or mend PEGASUS_FILES_URL.")
        if isinstance(error, (NotFoundError, FileNotFoundError)):
            return NotFound(f"The stored file {what} is gone.", hint="Add the document again.")
        # A listing that is refused has no class of its own in obstore.
        refused = re.search(r"status code: 40[13]\b", reason)
        if refused or isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
            return _Refused(
                f"The bucket {self._bucket} refuses us: {reason}",
                hint="Check the credentials (AWS_ACCESS_KEY_ID or the task's role) and the bucket's policy.",
            )
        return Unavailable(
            f"The bucket {self._bucket} cannot be used now: {reason}",
            hint="Check that the service of PEGASUS_FILES_URL can be reached, then try again.",
        )


class _Refused(Unavailable):
    """Wrong at start; later it may be mended while we run, as a policy or a role is."""


@contextmanager
def _passing_file() -> Iterator[IO[bytes]]:
    with tempfile.NamedTemporaryFile(prefix="pegasus-") as file:
        yield file


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The file could not be kept on this machine: {error}.",
            hint="Check the free space of its folder for passing files (TMPDIR).",
        ) from error


@contextmanager
def _read_to_the_end(source: ByteSource, max_bytes: int | None) -> Iterator[tuple[IO[bytes], str, int]]:
    """A stream as a passing file, with its SHA-256 and size."""
    digest, size = hashlib.sha256(), 0
    with _passing_file() as file:
        with _kept():
            while block := source.read(_BLOCK):
                size += len(block)
                if max_bytes is not None:
                    _check_size(size, max_bytes)
                digest.update(block)
                file.write(block)
            file.seek(0)
        yield file, digest.hexdigest(), size


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(
            f"The file is larger than the limit of {max_bytes:,} bytes.",
            hint="Split it, or raise PEGASUS_MAX_UPLOAD_BYTES.",
        )


def _reason(error: Exception) -> str:
    """What the service said, without the debug output that obstore adds and without what signs a request."""
    line = str(error).partition("\n")[0]
    return re.sub(r"(?i)(X-Amz-\w+|Signature|Credential)=[^&\s]+", r"\1=...", line)[:300]
