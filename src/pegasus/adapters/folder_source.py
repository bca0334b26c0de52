"""The files of a folder on this machine."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from pegasus.errors import Invalid, NotFound, PegasusError, Unreadable
from pegasus.ports import FoundItem, ItemContent, Listing

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class FolderReader:
    """Hidden files are left out, links are followed nowhere; a changed time or size is a change."""

    def __init__(self, path: Path, include: Sequence[str], exclude: Sequence[str], never: Path) -> None:
        """``never`` is a folder that is left out wherever it is: the data directory, which would read itself."""
        self._path, self._include, self._exclude, self._never = path, include, exclude, never

    def listing(self, token: str | None) -> Listing:  # noqa: ARG002 - a folder has no version of the whole
        self._check()
        gaps: list[PegasusError] = []
        return Listing(self._items(gaps), gaps)

    def open(self, key: str, token: str | None) -> ItemContent:  # noqa: ARG002 - as its listing has the token
        self._check()
        return ItemContent(cast("IO[bytes]", io.BufferedReader(_File(self._path, key))), Path(key).name)

    def close(self) -> None: ...

    def _check(self) -> None:
        if self._path.resolve() != self._path:
            raise Invalid(f"{self._path} leads elsewhere by now.", hint="Remove the source and add it again.")
        if not self._path.is_dir():
            raise Invalid(f"{self._path} is no folder, or not there now.", hint="Is its disk mounted?")

    def _items(self, gaps: list[PegasusError]) -> Iterator[FoundItem]:
        def cannot_look(error: OSError) -> None:
            gaps.append(
                Unreadable(f"{error.filename} cannot be looked into: {error.strerror}.", hint="Mend its rights.")
            )

        for folder, subfolders, names in os.walk(self._path, onerror=cannot_look):
            here = Path(folder)
            subfolders[:] = sorted(name for name in subfolders if name[:1] != "." and here / name != self._never)
            for name in sorted(names):
                relative = (here / name).relative_to(self._path).as_posix()
                if not name.startswith(".") and self._is_wanted(relative):
                    yield from self._found(here / name, relative, gaps)

    def _is_wanted(self, relative: str) -> bool:
        included = not self._include or any(fnmatchcase(relative, pattern) for pattern in self._include)
        return included and not any(fnmatchcase(relative, pattern) for pattern in self._exclude)

    def _found(self, file: Path, relative: str, gaps: list[PegasusError]) -> Iterator[FoundItem]:
        try:
            facts = file.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            gaps.append(Unreadable(f"{relative!r} cannot be looked at: {error.strerror}."))
            return
        key = relative.encode("utf-8", "replace").decode()
        if key != relative:
            yield FoundItem(key, "", error=Unreadable(f"The name {key!r} is not UTF-8.", hint="Rename the file."))
        elif stat.S_ISREG(facts.st_mode):
            # The change time, too: a file that is put in another's place may have its size and be as old.
            token = f"{facts.st_mtime_ns}-{facts.st_ctime_ns}-{facts.st_size}"
            yield FoundItem(key, file.as_uri(), token)


class _File(io.RawIOBase):
    """A file below a folder, opened without following a link on the way; what breaks is the file's fault alone."""

    def __init__(self, folder: Path, key: str) -> None:
        self._name = key
        self._number = -1
        parts = key.split("/")
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                opened, before = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened), opened
                os.close(before)
            # Without waiting: a pipe that was put in the file's place has nobody at its other end.
            self._number = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=opened)
            if not stat.S_ISREG(os.fstat(self._number).st_mode):
                raise Unreadable(f"{key!r} is no file any more.")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{key!r} is gone.") from error
        except OSError as error:
            raise Unreadable(f"{key!r} cannot be opened: {error.strerror}.", hint="Check its rights.") from error
        finally:
            os.close(opened)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        try:
            piece = os.read(self._number, len(view))
        except OSError as error:
            raise Unreadable(f"{self._name!r} cannot be read: {error.strerror}.", hint="Check its disk.") from error
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if self._number >= 0:
            os.close(self._number)
            self._number = -1
        super().close()
