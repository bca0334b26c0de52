"""Identifiers: UUIDv7, so that ids sort by creation time and a page cursor is just the last id."""

from __future__ import annotations

import hashlib
import re
import uuid

import uuid_utils


def new_id() -> str:
    """A fresh UUIDv7 in its canonical 36-character form (RFC 9562, section 5.7)."""
    return str(uuid_utils.uuid7())


def first_id_at(time: float) -> str:
    """The least id that ``new_id`` may give at a time, in seconds since the epoch: ids before it are older."""
    digits = f"{max(0, int(time * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


def is_id(value: str) -> bool:
    """Whether ``value`` is a UUID in canonical form, which is the only form that the stores hold."""
    try:
        return str(uuid.UUID(value)) == value
    except ValueError:
        return False


UPLOADS = "uploads"
_FILE_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/([0-9a-f]{2})/\2[0-9a-f]{30}")


def new_file_key(workspace_id: str) -> str:
    """Where an original file is kept: ``<workspace>/<2 hex>/<32 hex>``, with nothing in it that a caller gave."""
    name = uuid.uuid4().hex
    return f"{workspace_id}/{name[:2]}/{name}"


def is_file_key(key: str) -> bool:
    return _FILE_KEY.fullmatch(key) is not None


def upload_key(workspace_id: str, upload_id: str) -> str:
    """Where an upload's bytes wait until they are a document's: apart from files, as all that is old there goes."""
    return f"{UPLOADS}/{workspace_id}/{upload_id}"


def sha256_hex(content: str | bytes) -> str:
    """SHA-256 of bytes, or of a text's UTF-8 form, as 64 lowercase hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
