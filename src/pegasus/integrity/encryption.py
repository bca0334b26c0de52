"""Encryption of archives in the format of age (age-encryption.org), so that ``age`` opens them without Pegasus.

For a recipient the file is an age file. For a passphrase, age's library wants all of the content in memory at once; so
a key pair is made for this one file, the content is encrypted for it as a stream, and only the identity, which opens
it, with the passphrase. The file is then a plain tar of the two, in which ``age -d -i`` takes the first as it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyrage

from pegasus.errors import Invalid
from pegasus.integrity.archive import END_OF_TAR, damaged, header, padding

_AGE, _TAR_BLOCK = b"age-encryption.org/v1\n", 512
_IDENTITY, _CONTENT = "identity.age", "archive.tar.gz.age"
_MAX_IDENTITY_BYTES = 2**12


@dataclass(frozen=True, slots=True)
class Lock:
    """What an archive is encrypted with: a passphrase, or somebody's public key."""

    passphrase: str | None = None
    recipient: str | None = None  # age1...


@dataclass(frozen=True, slots=True)
class Key:
    """What opens it again."""

    passphrase: str | None = None
    identities: Sequence[str] = ()  # AGE-SECRET-KEY-1...


def read_passphrase(file: Path) -> str:
    """The first line of a file."""
    passphrase = _read(file).partition("\n")[0].rstrip("\r")
    if not passphrase:
        raise Invalid(f"{file} has no passphrase in its first line.", hint="Write it there.")
    return passphrase


def read_identities(file: Path) -> Sequence[str]:
    """The secret keys in a file as ``age-keygen`` writes it."""
    lines = [line.strip() for line in _read(file).splitlines()]
    found = [line for line in lines if line.startswith("AGE-SECRET-KEY-1")]
    if not found:
        raise Invalid(f"{file} has no age identity (AGE-SECRET-KEY-1...).", hint="Give the file of age-keygen.")
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}.", hint="Check its path and its permissions.") from error


@contextmanager
def encrypting(file: IO[bytes], lock: Lock) -> Iterator[IO[bytes]]:
    """A stream whose content goes into the file encrypted, for the length of the block."""
    if lock.recipient is not None:
        with _into(file, _recipient(lock.recipient)) as stream:
            yield stream
        return
    own = pyrage.x25519.Identity.generate()
    identity = pyrage.passphrase.encrypt(f"{own}\n".encode(), lock.passphrase)
    file.write(header(_IDENTITY, len(identity)) + identity + padding(len(identity)))
    # The size is known only in the end; until then this is no tar that anybody would take for whole.
    place = file.tell()
    file.write(bytes(_TAR_BLOCK))
    with _into(file, own.to_public()) as stream:
        yield stream
    size = file.tell() - place - _TAR_BLOCK
    file.write(padding(size) + END_OF_TAR)
    file.seek(place)
    file.write(header(_CONTENT, size))
    file.seek(0, os.SEEK_END)


def _recipient(text: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise Invalid(f"{text[:100]!r} is no recipient of age: {error}.", hint="It begins with age1.") from error


@contextmanager
def _into(file: IO[bytes], recipient: Any) -> Iterator[IO[bytes]]:
    """age's library takes a stream to read from; a pipe makes one of it to write to."""
    source, sink = os.pipe()
    failures: list[BaseException] = []

    def encrypt() -> None:
        with os.fdopen(source, "rb") as stream:
            try:
                pyrage.encrypt_io(stream, file, [recipient])
            except BaseException as error:  # noqa: BLE001 - raised below, on the thread that can tell.
                failures.append(error)

    thread = threading.Thread(target=encrypt, name="encrypt")
    thread.start()
    try:
        with os.fdopen(sink, "wb") as stream:
            yield stream
    except BrokenPipeError:  # The other thread has ended, and why stands in ``failures``.
        thread.join()
        if not failures:
            raise
    finally:
        thread.join()
    if failures:
        raise OSError(str(failures[0])) from failures[0]


@dataclass(frozen=True, slots=True)
class Opened:
    """An archive whose key was found to fit as far as can be told at its beginning; it may be read several times."""

    path: Path
    begin: int
    size: int
    identities: Sequence[Any] = ()  # None: it is not encrypted.

    @contextmanager
    def stream(self) -> Iterator[IO[bytes]]:
        """Its content, decrypted. Raises ``Invalid`` when an identity turns out not to fit, or a byte is changed."""
        with self.path.open("rb") as file:
            file.seek(self.begin)
            if not self.identities:
                yield file
                return
            with _out_of(_Part(file, self.size), self.identities) as stream:
                yield stream


def unlock(path: Path, key: Key) -> Opened:
    """Raises ``Invalid`` where the key is missing, wrong or of no use."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            beginning = file.read(_TAR_BLOCK)
            if beginning.startswith(_AGE):
                return Opened(path, 0, size, _identities(key))
            if beginning.startswith(_IDENTITY.encode() + b"\0"):
                file.seek(0)
                identity = _identity(file, key)
                size = _content_size(file)
                return Opened(path, file.tell(), size, [identity])
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.", hint="Check its path and permissions.") from error
    if key.passphrase or key.identities:
        raise Invalid("The archive is not encrypted.", hint="Leave out the passphrase or the identity.")
    return Opened(path, 0, size)


def _identities(key: Key) -> list[Any]:
    if not key.identities:
        raise Invalid("The archive is encrypted for a recipient.", hint="Give its identity with --identity FILE.")
    try:
        return [pyrage.x25519.Identity.from_str(text) for text in key.identities]
    except pyrage.IdentityError as error:
        raise Invalid(f"The identity cannot be read: {error}.", hint="Give the file of age-keygen.") from error


def _identity(file: IO[bytes], key: Key) -> Any:
    """The identity that opens the content, out of the first member."""
    if not key.passphrase:
        raise Invalid("The archive is encrypted with a passphrase.", hint="Give it with --passphrase-file FILE.")
    size = _member_size(file, _IDENTITY)
    if size > _MAX_IDENTITY_BYTES:
        raise damaged("its identity is too large")
    encrypted = file.read(size)
    if file.read(len(padding(size))).strip(b"\0"):
        raise damaged("there is something after its identity")
    try:
        text = pyrage.passphrase.decrypt(encrypted, key.passphrase).decode().strip()
        return pyrage.x25519.Identity.from_str(text)
    except (pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError, OSError) as error:
        raise Invalid(
            f"The passphrase does not open the archive, or its first part is damaged: {error}.",
            hint="Nothing was changed. Check the passphrase, or use another copy of the archive.",
        ) from error


def _content_size(file: IO[bytes]) -> int:
    """The size of the second member, at whose content the file then stands; nothing may follow it."""
    size, begin = _member_size(file, _CONTENT), file.tell()
    file.seek(begin + size)
    if file.read() != padding(size) + END_OF_TAR:
        raise damaged("it ends too early, or something follows its end")
    file.seek(begin)
    return size


def _member_size(file: IO[bytes], name: str) -> int:
    """The size that a header of this name states; the header must be the one that is written for it."""
    block = file.read(_TAR_BLOCK)
    end = os.fstat(file.fileno()).st_size
    try:
        size = _number(block[124:136])
    except ValueError as error:
        raise damaged(f"the header of {name} cannot be read") from error
    if not 0 <= size <= end or header(name, size) != block:
        raise damaged(f"the header of {name} cannot be read")
    return size


def _number(field: bytes) -> int:
    """A size as tar has it: octal digits, or, from 8 GiB on, binary after a byte of 128."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    return int(field.rstrip(b"\0 ") or b"0", 8)


class _Part:
    """So many bytes of a file from where it stands."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(block)
        return block


@contextmanager
def _out_of(file: Any, identities: Sequence[Any]) -> Iterator[IO[bytes]]:
    source, sink = os.pipe()
    failures: list[BaseException] = []

    def decrypt() -> None:
        # Where the reader has gone already, what is left in the buffer is of no use.
        with suppress(BrokenPipeError), os.fdopen(sink, "wb") as stream:
            try:
                pyrage.decrypt_io(file, stream, identities)
            except BaseException as error:  # noqa: BLE001 - raised below, on the thread that can tell.
                # Before the pipe is closed, so that who meets its end too early finds the reason here.
                failures.append(error)

    thread = threading.Thread(target=decrypt, name="decrypt")
    thread.start()
    reason: BaseException | None = None
    try:
        with os.fdopen(source, "rb") as stream:
            try:
                yield stream
            finally:
                # Once this end is closed the other thread fails for that alone, which is no reason.
                reason = failures[0] if failures else None
    except Exception as error:
        if reason:
            raise _told(reason) from error
        raise
    finally:
        thread.join()
    if reason:
        raise _told(reason) from reason


def _told(reason: BaseException) -> Invalid:
    if isinstance(reason, pyrage.DecryptError) and "No matching keys" in str(reason):
        return Invalid(
            "The identity does not open the archive: it was encrypted for another recipient.",
            hint="Nothing was changed. Give the identity of the recipient that the backup was made for.",
        )
    return damaged(f"it cannot be decrypted ({reason})")
