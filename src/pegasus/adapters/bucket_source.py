"""The objects of an S3-compatible bucket, through obstore."""

from __future__ import annotations

import re
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from pegasus.errors import Invalid, NotFound, PegasusError, TooLarge, Unavailable
from pegasus.ports import Dialer, FoundItem, ItemContent, Listing

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

_PORTS = {"http": 80, "https": 443}
_PAGE = 500
_BLOCK = 2**20
_IN_MEMORY_BYTES = 2**20


class BucketReader:
    """Objects by their keys; an ETag tells a change. Keys that end in "/" are folders by custom, and left out."""

    def __init__(
        self, dialer: Dialer, bucket: str, prefix: str, endpoint: str | None, region: str,
        credentials: tuple[str, str] | None, max_bytes: int,
    ) -> None:  # fmt: skip
        """``credentials``: access key id and secret access key; None asks without a signature."""
        self._dialer, self._bucket, self._prefix, self._endpoint = dialer, bucket, prefix, endpoint
        self._max_bytes = max_bytes
        config: S3Config = {"region": region, "virtual_hosted_style_request": endpoint is None}
        if endpoint:
            config["endpoint"] = endpoint.rstrip("/")
        if credentials:
            config["access_key_id"], config["secret_access_key"] = credentials
        else:
            config["skip_signature"] = True
        client: ClientConfig = {"timeout": "60s", "connect_timeout": "10s", "user_agent": "Pegasus"}
        if endpoint and endpoint.startswith("http:"):
            client["allow_http"] = True
        retry: RetryConfig = {"max_retries": 2}
        self._store = S3Store(bucket, config=config, client_options=client, retry_config=retry)

    def listing(self, token: str | None) -> Listing:  # noqa: ARG002 - a bucket has no version of the whole
        self._check()
        return Listing(self._items())

    def open(self, key: str, token: str | None) -> ItemContent:  # noqa: ARG002 - as its listing has the token
        self._check()
        content = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - it is the caller's to close.
        try:
            answer = obstore.get(self._store, key)
            for block in answer.stream(min_chunk_size=_BLOCK):
                content.write(block)
                self._check_size(key, content.tell())
            content.seek(0)
        except BaseException as error:
            content.close()
            if isinstance(error, (BaseError, OSError)):
                raise self._told(error, repr(key)) from error
            raise
        media_type = str(answer.attributes.get("Content-Type", "")) or None
        return ItemContent(cast("IO[bytes]", content), key.rsplit("/", 1)[-1], media_type)

    def close(self) -> None: ...

    def _check(self) -> None:
        """obstore connects by itself, so that this cannot pin the address: only the operator may name an endpoint."""
        if self._endpoint:
            parts = urlsplit(self._endpoint)
            self._dialer.check(parts.hostname or "", parts.port or _PORTS[parts.scheme], _PORTS.values())

    def _check_size(self, key: str, size: int) -> None:
        if size > self._max_bytes:
            raise TooLarge(f"{key!r} is larger than {self._max_bytes:,} bytes.", hint="Leave it out.")

    def _items(self) -> Iterator[FoundItem]:
        try:
            for page in obstore.list(self._store, prefix=self._prefix or None, chunk_size=_PAGE):
                for entry in page:
                    # obstore takes a prefix for a folder's name, whose rest of a name would be passed over.
                    if not entry["path"].endswith("/"):
                        yield self._item(entry["path"], entry["e_tag"], entry["size"], str(entry["last_modified"]))
        except (BaseError, OSError) as error:
            raise self._told(error, f"the bucket {self._bucket!r}") from error

    def _item(self, key: str, etag: str | None, size: int, modified: str) -> FoundItem:
        place = f"{self._endpoint.rstrip('/')}/" if self._endpoint else "s3://"
        error = None
        if size > self._max_bytes:
            error = TooLarge(f"{key!r} is larger than {self._max_bytes:,} bytes.", hint="Leave it out.")
        return FoundItem(key, f"{place}{self._bucket}/{key}", etag or f"{modified}-{size}", error)

    def _told(self, error: Exception, what: str) -> PegasusError:
        reason = _first_line(error)
        if isinstance(error, (NotFoundError, FileNotFoundError)):
            return NotFound(f"There is no {what}: {reason}", hint="Check the bucket's name.")
        # A listing that is refused has no class of its own in obstore.
        refused = re.search(r"status code: (40[0135-7])", reason)
        if refused or isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
            return Invalid(f"{what} may not be read: {reason}", hint="Check the secrets and the bucket's policy.")
        return Unavailable(f"{what} cannot be read now: {reason}", hint="Try again later.")


def _first_line(error: Exception) -> str:
    """What the service said, without the debug output that obstore adds and without what signs a request."""
    line = str(error).partition("\n")[0]
    return re.sub(r"(?i)(X-Amz-\w+|Signature|Credential)=[^&\s]+", r"\1=...", line)[:300]
