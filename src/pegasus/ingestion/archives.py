"""Opens ZIP archives from strangers: one bad member is refused on its own, and no header is believed about sizes."""

from __future__ import annotations

import io
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from pegasus.errors import Invalid, PegasusError, TooLarge, Unreadable, UnsupportedFormat
from pegasus.text.formats import zip_directory_bytes
from pegasus.text.lines import visible_line

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MIB = 1024 * 1024
_ENCRYPTED_FLAG = 0x1
_DIRECTORY_BYTES_PER_MEMBER = 1024  # 46 for the fields; the rest is for name, extras and comment


@dataclass(frozen=True, slots=True)
class Limits:
    """``max_ratio`` counts only past ``ratio_free_bytes``: small repetitive files pack very well and do no harm."""

    max_members: int = 10_000
    max_member_bytes: int = 100 * _MIB
    max_total_bytes: int = 1024 * _MIB
    max_ratio: int = 200
    ratio_free_bytes: int = 10 * _MIB


@dataclass(slots=True)
class _Unpacking:
    """An open archive and the bytes really unpacked from it so far."""

    archive: zipfile.ZipFile
    packed_bytes: int
    limits: Limits
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One file of an archive; with an ``error`` it is refused and never unpacked."""

    name: str
    error: PegasusError | None
    _info: zipfile.ZipInfo = field(repr=False)
    _unpacking: _Unpacking = field(repr=False)

    def open(self) -> BinaryIO:
        """A stream of the member's bytes, to be read and closed before the iteration over the archive ends.

        Raises the ``error``; opening and reading raise ``Unreadable`` when the member is damaged, and reading
        ``TooLarge`` at the first byte beyond a limit.
        """
        if self.error is not None:
            raise self.error
        with _damage_told(self.name):
            source = self._unpacking.archive.open(self._info)
        return io.BufferedReader(_LimitedReader(source, self.name, self._info.compress_size, self._unpacking))


class _LimitedReader(io.RawIOBase):
    """Counts the bytes that come out, since the sizes in the headers are the sender's word."""

    def __init__(self, source: IO[bytes], name: str, packed_bytes: int, unpacking: _Unpacking) -> None:
        self._source, self._name, self._packed_bytes, self._unpacking = source, name, packed_bytes, unpacking
        self._size_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with _damage_told(self._name):
            piece = self._source.read(len(view))
        self._size_bytes += len(piece)
        self._unpacking.total_bytes += len(piece)
        self._check()
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._source.close()
        super().close()

    def _check(self) -> None:
        limits, size, total = self._unpacking.limits, self._size_bytes, self._unpacking.total_bytes
        if size > limits.max_member_bytes:
            raise _too_large(self._name, limits.max_member_bytes)
        if total > limits.max_total_bytes:
            raise TooLarge(
                f"The archive unpacks to more than {limits.max_total_bytes:,} bytes; {self._name!r} is past that.",
                hint="Split it into several archives.",
            )
        if size > limits.ratio_free_bytes and size > limits.max_ratio * self._packed_bytes:
            raise TooLarge(
                f"{self._name!r} unpacks to more than {limits.max_ratio} times its packed size, as a ZIP bomb does.",
                hint="If it is a real document, add it on its own, not in an archive.",
            )
        # Members may share their packed bytes, so that none is a bomb and all together are one.
        if total > limits.ratio_free_bytes and total > limits.max_ratio * self._unpacking.packed_bytes:
            raise TooLarge(
                f"The archive unpacks to more than {limits.max_ratio} times its size, as a ZIP bomb does;"
                f" {self._name!r} is past that.",
                hint="If these are real documents, add them on their own, not in an archive.",
            )


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    try:
        yield
    # bz2 says OSError, zipfile RuntimeError and NotImplementedError for what they cannot unpack.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
        raise Unreadable(
            f"{name!r} in the archive is damaged: {error}.", hint="Pack the archive again and add that."
        ) from error


def members(path: Path, limits: Limits) -> Iterator[ArchiveMember]:
    """The files in the ZIP at ``path``, refused ones included; folders, ``__MACOSX`` and dot files are left out.

    The archive stays open until the iteration ends. Raises ``Unreadable`` when it is not a ZIP, ``TooLarge`` when it
    has too many members.
    """
    with path.open("rb") as file:
        _check_directory_size(file, limits)
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise Unreadable(
                f"The archive cannot be opened: {error}.", hint="It may be cut short: pack or download it again."
            ) from error
        with archive:
            yield from _members(_Unpacking(archive, path.stat().st_size, limits))


def _members(unpacking: _Unpacking) -> Iterator[ArchiveMember]:
    infos = unpacking.archive.infolist()
    if len(infos) > unpacking.limits.max_members:
        raise _too_many(unpacking.limits)
    for info in infos:
        name = visible_line(info.filename.replace("\\", "/"))
        if not info.is_dir() and not _is_clutter(name):
            yield ArchiveMember(name, _refusal(info, name, unpacking.limits), info, unpacking)


def _check_directory_size(file: IO[bytes], limits: Limits) -> None:
    file.seek(max(0, file.seek(0, io.SEEK_END) - 22 - 0xFFFF))
    if zip_directory_bytes(file.read()) > max(limits.max_members * _DIRECTORY_BYTES_PER_MEMBER, 0xFFFF):
        raise _too_many(limits)
    file.seek(0)


def _is_clutter(name: str) -> bool:
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") and part != ".." for part in parts)


def _refusal(info: zipfile.ZipInfo, name: str, limits: Limits) -> PegasusError | None:
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        return Invalid(
            f"{name!r} is an absolute or climbing path, which could write outside its folder.",
            hint="Pack the files with relative names.",
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        return Invalid(f"{name!r} is a link, and links are not followed.", hint="Pack the file that it points to.")
    if info.flag_bits & _ENCRYPTED_FLAG:
        return Unreadable(f"{name!r} is encrypted.", hint="Pack the archive without a password.")
    if name.lower().endswith(".zip"):
        return _nested(name)
    return _too_large(name, limits.max_member_bytes) if info.file_size > limits.max_member_bytes else None


def _nested(name: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{name!r} is an archive inside the archive, and those are not opened.", hint="Unpack it and add its files."
    )


def _too_large(name: str, limit_bytes: int) -> TooLarge:
    return TooLarge(f"{name!r} is larger than {limit_bytes:,} bytes.", hint="Split it, or raise the upload limit.")


def _too_many(limits: Limits) -> TooLarge:
    return TooLarge(
        f"The archive lists more than {limits.max_members:,} files.", hint="Split it into several archives."
    )
