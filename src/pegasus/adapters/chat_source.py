"""An export of a chat program on this machine: a ZIP, a folder or a file, as it was downloaded."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from pegasus.errors import Invalid, NotFound, PegasusError, TooLarge, Unreadable
from pegasus.ports import FoundItem, ItemContent, Listing
from pegasus.text.chats import Chat, read_chats
from pegasus.text.formats import zip_directory_bytes

_MAX_FILES = 200_000
_MAX_DIRECTORY_BYTES = 64 * 2**20

Files = tuple[list[str], Callable[[str], bytes]]


class ChatReader:
    """Conversations by their keys; a new export in the old one's place brings what is new in it."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._texts: dict[str, bytes] | None = None

    def listing(self, token: str | None) -> Listing:  # noqa: ARG002
        gaps: list[PegasusError] = []
        return Listing(self._items(gaps), gaps)

    def open(self, key: str, token: str | None) -> ItemContent:  # noqa: ARG002
        if self._texts is None:
            for _ in self._items([]):
                pass
        if key not in (self._texts or {}):
            raise NotFound(f"The conversation {key!r} is gone.")
        name = f"{key.replace('/', ' ')}.md"
        return ItemContent(io.BytesIO((self._texts or {})[key]), name, "text/markdown; charset=utf-8")

    def close(self) -> None: ...

    def _items(self, gaps: list[PegasusError]) -> Iterator[FoundItem]:
        texts: dict[str, bytes] = {}
        with self._files() as (names, read):
            for chat in read_chats(names, read):
                if isinstance(chat, Chat):
                    # Two of the same name, as in an archive of several exports, are told apart by their order.
                    key = next(k for n in range(len(texts) + 1) if (k := chat.key + f" ({n})" * (n > 0)) not in texts)
                    texts[key] = chat.markdown.encode("utf-8", "replace")
                    token = hashlib.blake2s(texts[key]).hexdigest()
                    yield FoundItem(key, f"{self._path.as_uri()}!/{quote(key)}", token)
                else:
                    gaps.append(chat)
        self._texts = texts

    @contextmanager
    def _files(self) -> Iterator[Files]:
        """The names of the export's files, and what reads one."""
        if self._path.resolve() != self._path:
            raise Invalid(f"{self._path} leads elsewhere by now.", hint="Remove the source and add it again.")
        try:
            if self._path.is_dir():
                yield list(_names_below(self._path)), lambda name: self._bounded(name, (self._path / name).open("rb"))
            elif zipfile.is_zipfile(self._path):
                _check_directory(self._path)
                with zipfile.ZipFile(self._path) as archive:
                    names = [info.filename for info in archive.infolist() if not info.is_dir()]
                    yield names, lambda name: self._bounded(name, archive.open(name))
            else:
                yield [self._path.name], lambda name: self._bounded(name, self._path.open("rb"))
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
            raise Unreadable(f"{self._path} cannot be read: {error}.", hint="Export it again.") from error

    def _bounded(self, name: str, opened: IO[bytes]) -> bytes:
        """A file's bytes, whatever an archive says of their number."""
        with opened:
            content = bytes(opened.read(self._max_bytes + 1))
        if len(content) > self._max_bytes:
            raise TooLarge(f"{name!r} is larger than {self._max_bytes:,} bytes.", hint="Export a shorter time.")
        return content


def _names_below(folder: Path) -> Iterator[str]:
    for count, (where, _, names) in enumerate(os.walk(folder)):
        if count > _MAX_FILES:
            raise TooLarge(f"{folder} has too many folders for an export.")
        for name in names:
            file = Path(where, name)
            if file.is_file() and not file.is_symlink():
                yield file.relative_to(folder).as_posix()


def _check_directory(path: Path) -> None:
    """zipfile makes an object of every entry that the directory names."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - 22 - 0xFFFF))
        if zip_directory_bytes(file.read()) > _MAX_DIRECTORY_BYTES:
            raise TooLarge(f"{path} lists far too many files for an export.")
