"""The file that a backup is: a compressed tar that any ``tar`` opens, and a seal over every byte of it.

In the tar: ``manifest.json``, the original files, the rows, and ``SHA256SUMS`` over all of these, for whoever unpacks
it by hand (``sha256sum -c``). It is written in one pass and read in one pass, in bounded memory. The seal comes after
the tar: an empty gzip member, to which no ``gunzip`` objects, with the SHA-256 of all that stands before it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import IO, Any, Self

from pegasus.errors import Invalid

FORMAT = 1
MANIFEST, DIGESTS = "manifest.json", "SHA256SUMS"
_FIRST_BYTES = b"\x1f\x8b"  # of gzip
_BLOCK, _COPY = 512, 2**18
_MAX_MANIFEST_BYTES, _MAX_LIST_IN_MEMORY = 2**20, 2**22
# On text level 1 is four times as fast as 6 and 6 % behind it; float32 hardly gets smaller at any level, so that
# embeddings are only wrapped.
_LEVEL, _WRAPPED = 1, 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself, in its first member."""

    format: int
    id: str
    pegasus: str  # the version that made it
    schema: str  # the revision of the rows
    created_at: str  # RFC 3339
    rows: Mapping[str, int]  # by table
    files: int


def seal(sha256: str) -> bytes:
    """A gzip member of no content, whose comment is the digest (RFC 1952, section 2.3)."""
    head = _FIRST_BYTES + b"\x08\x10\0\0\0\0\0\xff"
    return head + f"pegasus archive, sha256 {sha256}".encode() + b"\0" + b"\x03\0" + bytes(8)


_SEAL_BYTES = len(seal("0" * 64))


def damaged(what: str) -> Invalid:
    return Invalid(
        f"The archive is damaged or incomplete: {what}.",
        hint="Nothing was changed. Use another copy of it, or another backup.",
    )


def check_seal(stream: IO[bytes], seen: Callable[[int], None]) -> None:
    """Read an archive to its end. Raises ``Invalid`` unless each byte is the one that was written. ``seen`` is told
    how many bytes were read by now."""
    digest, size = hashlib.sha256(), 0
    first = stream.read(len(_FIRST_BYTES))
    if first != _FIRST_BYTES:
        raise Invalid("This is not an archive of Pegasus.", hint="Give a file that pegasus backup made.")
    held = first
    while block := stream.read(_COPY):
        held += block
        size += len(block)
        seen(size)
        digest.update(held[:-_SEAL_BYTES])
        held = held[-_SEAL_BYTES:]
    if held != seal(digest.hexdigest()):
        raise damaged("its seal does not fit its content")


def header(name: str, size: int) -> bytes:
    """The one form in which a member stands in our tars: a plain file, without owner or time."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


END_OF_TAR = bytes(2 * _BLOCK)


class ArchiveWriter:
    """Writes members one after the other; ``finish`` adds the list of digests and the seal."""

    def __init__(self, target: IO[bytes], manifest: Manifest) -> None:
        self._target, self._digest = target, hashlib.sha256()
        self._level, self._packer = _LEVEL, _packer(_LEVEL)
        self._list = tempfile.SpooledTemporaryFile(_MAX_LIST_IN_MEMORY)  # noqa: SIM115 - closed below.
        self.add(MANIFEST, json.dumps(asdict(manifest), indent=1).encode())

    def add(self, name: str, content: bytes, *, compress: bool = True) -> None:
        self._at_level(_LEVEL if compress else _WRAPPED)
        self._pack(header(name, len(content)) + content + padding(len(content)))
        self._note(name, hashlib.sha256(content).hexdigest())

    def add_file(self, name: str, size: int, source: IO[bytes]) -> str:
        """Copy a stream of exactly ``size`` bytes; its SHA-256. Raises ``EOFError`` when it ends before."""
        self._at_level(_LEVEL)
        self._pack(header(name, size))
        digest, left = hashlib.sha256(), size
        while left:
            block = source.read(min(left, _COPY))
            if not block:
                raise EOFError(f"{name} ended {left} bytes early")
            left -= len(block)
            digest.update(block)
            self._pack(block)
        self._pack(padding(size))
        self._note(name, digest.hexdigest())
        return digest.hexdigest()

    def finish(self) -> None:
        size = self._list.tell()
        self._list.seek(0)
        self._at_level(_LEVEL)
        self._pack(header(DIGESTS, size))
        while block := self._list.read(_COPY):
            self._pack(block)
        self._pack(padding(size) + END_OF_TAR)
        self._write(self._packer.flush())
        self._target.write(seal(self._digest.hexdigest()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._list.close()

    def _note(self, name: str, sha256: str) -> None:
        self._list.write(f"{sha256}  {name}\n".encode())

    def _at_level(self, level: int) -> None:
        """A gzip file may have many members one after the other, and each its own level."""
        if level != self._level:
            self._write(self._packer.flush())
            self._level, self._packer = level, _packer(level)

    def _pack(self, content: bytes) -> None:
        self._write(self._packer.compress(content))

    def _write(self, content: bytes) -> None:
        self._digest.update(content)
        self._target.write(content)


def _packer(level: int) -> Any:
    return zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)


class Member:
    """One file of the archive; what is not read of it is passed over."""

    def __init__(self, name: str, size: int, source: ArchiveReader) -> None:
        self.name, self.size = name, size
        self._source, self._left, self._digest = source, size, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._source.exactly(self._left if size < 0 else min(size, self._left))
        self._left -= len(content)
        self._digest.update(content)
        return content

    def whole(self, max_bytes: int) -> bytes:
        if self.size > max_bytes:
            raise damaged(f"{self.name} has {self.size:,} bytes, more than any that Pegasus writes")
        return self.read()

    def finish(self) -> str:
        """Read to the end; the SHA-256 of the whole."""
        while self._left:
            self.read(_COPY)
        return self._digest.hexdigest()


class ArchiveReader:
    """Reads a stream whose seal was checked; it takes nothing but what ``ArchiveWriter`` writes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._unpacked = gzip.GzipFile(fileobj=stream, mode="rb")
        self._digests = hashlib.sha256()  # of the list as it must stand at the end
        first = self._member()
        if first.name != MANIFEST:
            raise damaged("it does not begin with its manifest")
        self.manifest = _manifest_from(first.whole(_MAX_MANIFEST_BYTES))
        self._end(first)

    def members(self) -> Iterator[Member]:
        """Each in turn, up to the list of digests, which must agree with all that was read."""
        while (member := self._member()).name != DIGESTS:
            yield member
            self._end(member)
        if member.finish() != self._digests.hexdigest():
            raise damaged("a member is not what the list of digests says")
        if self.exactly(len(padding(member.size)) + len(END_OF_TAR)).strip(b"\0") or self._read(1):
            raise damaged("something follows its end")

    def _member(self) -> Member:
        block = self.exactly(_BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            if info.size >= 0 and header(info.name, info.size) == block:
                return Member(info.name, info.size, self)
        except (tarfile.HeaderError, ValueError) as error:
            raise damaged("a header is not one of a plain file") from error
        # A link, a folder, a device, an owner: nothing that Pegasus writes.
        raise damaged("a header is not one of a plain file")

    def _end(self, member: Member) -> None:
        self._digests.update(f"{member.finish()}  {member.name}\n".encode())
        if self.exactly(len(padding(member.size))).strip(b"\0"):
            raise damaged(f"there is something between {member.name} and the next member")

    def exactly(self, size: int) -> bytes:
        content = self._read(size)
        if len(content) < size:
            raise damaged("it ends too early")
        return content

    def _read(self, size: int) -> bytes:
        try:
            return self._unpacked.read(size)
        except (EOFError, OSError, zlib.error) as error:
            raise damaged(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._unpacked.close()


def _manifest_from(content: bytes) -> Manifest:
    try:
        found = json.loads(content)
        version = found["format"]
        if version == FORMAT:
            return Manifest(**{field.name: found[field.name] for field in fields(Manifest)})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged("its manifest cannot be read") from error
    raise Invalid(
        f"The archive has the format {version!r}, made by Pegasus {found.get('pegasus')!r}; this one reads {FORMAT}.",
        hint="Restore it with that version of Pegasus or a newer one.",
    )
