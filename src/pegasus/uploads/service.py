"""A large file's way past the API: announced, put where files are kept by the client itself, and then handed in.

What is put there is nobody's document yet, and goes by itself when it never becomes one. Size and SHA-256 are announced
first, so that whoever takes the bytes, a bucket or the API, can refuse any others.
"""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass

from pegasus.access import service as access
from pegasus.access.scopes import Principal
from pegasus.errors import Conflict, Forbidden, NotFound, TooLarge
from pegasus.identifiers import is_id, new_id, sha256_hex, upload_key
from pegasus.ports import ByteSource, FileStore, RelationalStore, SignedRequest, Transaction
from pegasus.uploads import repository
from pegasus.uploads.repository import Upload as Upload

# Within the first sending may begin, within the second an upload may be handed in. It goes some time later: what was
# begun by then has ended, whatever the clocks of several machines say.
_URL_SECONDS, _KEPT_SECONDS, _GRACE_SECONDS = 3_600, 86_400, 3_600
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Announced:
    upload: Upload
    token: str
    direct: SignedRequest | None  # None: the API takes it, from whoever has the token.

    @property
    def expires_at(self) -> float:
        return _url_ends(self.upload)


def announce(
    files: FileStore, caller: Principal, filename: str | None, content_type: str | None, size_bytes: int, sha256: str,
    max_bytes: int,
) -> Announced:  # fmt: skip
    """A new upload, which ``keep`` is to store; before any transaction, as whoever signs may have to be waited for.

    Raises ``TooLarge`` for more than the installation or the key allows.
    """
    most = min(max_bytes, caller.max_body_bytes or max_bytes)
    if size_bytes > most:
        raise TooLarge(
            f"The file is larger than the limit of {most:,} bytes.",
            hint="Split it, or raise PEGASUS_MAX_UPLOAD_BYTES or the key's own limit.",
        )
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    upload = Upload(
        new_id(), caller.workspace_id, filename, content_type, size_bytes, sha256, time.time(), sha256_hex(token)
    )
    return Announced(upload, token, files.offer(key_of(upload), size_bytes, sha256, _URL_SECONDS))


def keep(tx: Transaction, caller: Principal, upload: Upload) -> None:
    repository.insert(tx, upload)
    access.note(tx, caller, "upload.announced", upload.id)


def key_of(upload: Upload) -> str:
    return upload_key(upload.workspace_id, upload.id)


def admit(tx: Transaction, upload_id: str, token: str, length: str | None) -> Upload:
    """The upload that a URL of the API is for. Raises ``Forbidden``, as a bucket refuses, for whatever else is sent."""
    upload = repository.get(tx, upload_id) if is_id(upload_id) else None
    if upload is None or not hmac.compare_digest(upload.token_sha256, _digest(token)):
        raise Forbidden("The URL of the upload is not valid.", hint="Announce one with POST /v1/uploads.")
    if time.time() > _url_ends(upload):
        raise Forbidden("The URL of the upload has expired.", hint="Announce it again with POST /v1/uploads.")
    if length != str(upload.size_bytes):
        raise Forbidden(
            f"The upload was announced with {upload.size_bytes} bytes.", hint="Send these, with their Content-Length."
        )
    return upload


def receive(files: FileStore, upload: Upload, source: ByteSource) -> None:
    """Raises ``Invalid`` for other bytes than were announced."""
    files.receive(key_of(upload), source, upload.size_bytes, upload.sha256)


def to_hand_in(tx: Transaction, workspace_id: str, upload_id: str) -> Upload:
    """Raises ``NotFound``, also for what is of another workspace or past its time, and ``Conflict`` the second time."""
    upload = repository.get(tx, upload_id) if is_id(upload_id) else None
    if upload is None or upload.workspace_id != workspace_id or time.time() > upload.created_at + _KEPT_SECONDS:
        raise NotFound(
            f"There is no upload {upload_id[:64]!r}.", hint="Announce one with POST /v1/uploads; it is kept for a day."
        )
    if upload.taken_at is not None:
        raise _taken()
    return upload


def take(tx: Transaction, upload: Upload) -> None:
    """In the transaction that makes a document of it, so that it is handed in once. Raises ``Conflict``."""
    if not repository.set_taken(tx, upload.id, time.time()):
        raise _taken()


def tidy(relational: RelationalStore, files: FileStore) -> int:
    """Forget the uploads whose time is over, and whatever has come of them; how many that were."""
    over = time.time() - _KEPT_SECONDS - _GRACE_SECONDS
    swept = files.sweep(over)
    with relational.write() as tx:
        return max(swept, repository.delete_before(tx, over))


def _taken() -> Conflict:
    return Conflict(
        "The upload was handed in already.", hint="With its Idempotency-Key you get the first answer again."
    )


def _url_ends(upload: Upload) -> float:
    return upload.created_at + _URL_SECONDS


def _digest(token: str) -> str:
    return sha256_hex(token.encode("utf-8", "surrogateescape"))
