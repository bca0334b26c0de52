"""Identifiers: UUIDv7, so that ids sort by creation time and a page cursor is just the last id."""

from __future__ import annotations

import hashlib
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


def sha256_hex(content: str | bytes) -> str:
    """SHA-256 of bytes, or of a text's UTF-8 form, as 64 lowercase hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
