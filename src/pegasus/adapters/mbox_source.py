"""The messages in an mbox file on this machine."""

from __future__ import annotations

import hashlib
import io
import mailbox
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pegasus.errors import Invalid, NotFound, TooLarge, Unavailable, Unreadable
from pegasus.ports import FoundItem, ItemContent, Listing

_EML = "message/rfc822"


class MboxReader:
    """Messages by the digest of their bytes; the file is only read again when its time or size has changed."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._box: mailbox.mbox | None = None
        self._places: dict[str, int] = {}

    def listing(self, token: str | None) -> Listing | None:
        try:
            facts = self._path.stat()
        except OSError as error:
            raise Invalid(f"{self._path} is not there now: {error.strerror}.", hint="Is its disk mounted?") from error
        now = f"{facts.st_mtime_ns}-{facts.st_ctime_ns}-{facts.st_size}"
        if now == token:
            return None
        return Listing(self._items(), token=now)

    def open(self, key: str, token: str | None) -> ItemContent:  # noqa: ARG002
        if self._box is None:
            for _ in self._items():
                pass
        if self._box is None or key not in self._places:
            raise NotFound(f"The message {key} is gone.")
        content = self._message(self._box, self._places[key])
        if _key(content) != key:  # The file has changed under us.
            self.close()
            raise Unavailable("The mbox file has just changed.", hint="Try again when nobody writes it.")
        return ItemContent(io.BytesIO(content), f"{key[:16]}.eml", _EML)

    def close(self) -> None:
        if self._box is not None:
            self._box.close()
            self._box = None

    def _items(self) -> Iterator[FoundItem]:
        self.close()
        self._places.clear()
        try:
            if self._path.resolve() != self._path:
                raise Invalid(f"{self._path} leads elsewhere by now.", hint="Remove the source and add it again.")
            with self._path.open("rb") as file:
                _check_mbox(file)
            self._box = mailbox.mbox(self._path, create=False)
            for place in self._box.keys():  # noqa: SIM118 - iterating it would parse every message.
                content = self._message(self._box, int(place))
                key, error = _key(content), None
                if len(content) > self._max_bytes:
                    error = TooLarge(f"A message is larger than {self._max_bytes:,} bytes.", hint="Leave it out.")
                self._places[key] = int(place)
                yield FoundItem(key, f"{self._path.as_uri()}!/{key}", "1", error)
        except (OSError, mailbox.Error) as error:
            raise Unreadable(f"{self._path} cannot be read: {error}.", hint="Check its rights.") from error

    def _message(self, box: mailbox.mbox, place: int) -> bytes:
        """At most one byte more than a message may have, whatever the file makes of its whole as one message."""
        with box.get_file(place) as file:  # type: ignore[arg-type] # Its keys are numbers.
            return bytes(file.read(self._max_bytes + 1))


def _key(content: bytes) -> str:
    return hashlib.blake2s(content).hexdigest()


def _check_mbox(file: IO[bytes]) -> None:
    if file.read(5) not in (b"From ", b""):
        raise Unreadable("The file is no mbox: it does not begin with a From line.", hint="Export the mail as mbox.")
