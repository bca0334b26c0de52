"""An archive is taken whole and as it was written, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyrage
import pytest

from pegasus.errors import Invalid
from pegasus.integrity.archive import (
    DIGESTS,
    END_OF_TAR,
    FORMAT,
    MANIFEST,
    ArchiveReader,
    ArchiveWriter,
    Manifest,
    check_seal,
    header,
    padding,
    seal,
)
from pegasus.integrity.encryption import Key, Lock, encrypting, unlock

SAMPLE = Manifest(FORMAT, "id", "0.1.0", "0001", "2026-01-31T00:00:00+00:00", {"documents": 2}, 1)
MEMBERS = {"files/a": b"An original. " * 40, "rows/documents/000000.ndjson": b'{"id":"1"}\n{"id":"2"}\n'}
RECIPIENT = pyrage.x25519.Identity.generate()


def write_members(stream: io.BytesIO) -> None:
    with ArchiveWriter(stream, SAMPLE) as archive:
        content = MEMBERS["files/a"]
        archive.add_file("files/a", len(content), io.BytesIO(content))
        archive.add("rows/passage_embeddings/000000.vector", bytes(range(256)), compress=False)
        archive.add("rows/documents/000000.ndjson", MEMBERS["rows/documents/000000.ndjson"])
        archive.finish()


@pytest.fixture(scope="module")
def plain() -> bytes:
    stream = io.BytesIO()
    write_members(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def for_recipient(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encrypted(tmp_path_factory.mktemp("age") / "a", Lock(recipient=str(RECIPIENT.to_public())))


@pytest.fixture(scope="module")
def with_passphrase(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return encrypted(tmp_path_factory.mktemp("age") / "a", Lock(passphrase="open sesame"))


@pytest.fixture(scope="module")
def identity(with_passphrase: bytes) -> bytes:
    """What the passphrase protects; each use of one is a second of work on purpose."""
    with tarfile.open(fileobj=io.BytesIO(with_passphrase)) as tar:
        return pyrage.passphrase.decrypt(tar.extractfile("identity.age").read(), "open sesame")


def encrypted(path: Path, lock: Lock) -> bytes:
    with path.open("w+b") as file, encrypting(file, lock) as stream:
        write_members(stream)
    return path.read_bytes()


def read(stream: io.BytesIO) -> dict[str, bytes]:
    check_seal(stream, lambda size: None)
    stream.seek(0)
    with ArchiveReader(stream) as archive:
        return {member.name: member.whole(10**6) for member in archive.members()}


def read_file(path: Path, key: Key) -> dict[str, bytes]:
    """As a restore does: the key, then the seal, then the members."""
    opened = unlock(path, key)
    with opened.stream() as stream:
        check_seal(stream, lambda size: None)
    with opened.stream() as stream, ArchiveReader(stream) as archive:
        return {member.name: member.whole(10**6) for member in archive.members()}


def test_what_was_written_is_read_again(plain: bytes) -> None:
    found = read(io.BytesIO(plain))
    assert found["files/a"] == MEMBERS["files/a"]
    assert found["rows/passage_embeddings/000000.vector"] == bytes(range(256))
    assert ArchiveReader(io.BytesIO(plain)).manifest == SAMPLE


def test_any_tar_opens_it_and_its_list_of_digests_is_true(plain: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(plain))) as tar:
        contents = {info.name: tar.extractfile(info).read() for info in tar}
    listed = dict(reversed(line.split("  ")) for line in contents.pop(DIGESTS).decode().splitlines())
    assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert json.loads(contents[MANIFEST])["schema"] == "0001"


def test_every_flipped_byte_is_noticed(plain: bytes) -> None:
    for place in range(len(plain)):
        flipped = bytearray(plain)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(Invalid):
            check_seal(io.BytesIO(flipped), lambda size: None)


def test_every_truncation_is_noticed(plain: bytes) -> None:
    for size in range(len(plain)):
        with pytest.raises(Invalid):
            check_seal(io.BytesIO(plain[:size]), lambda size: None)


def test_what_follows_the_end_is_noticed(plain: bytes) -> None:
    for more in (b"\0", plain):
        with pytest.raises(Invalid):
            check_seal(io.BytesIO(plain + more), lambda size: None)


class TestEncrypted:
    def test_for_a_recipient_it_is_an_age_file(self, for_recipient: bytes, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(for_recipient)
        assert read_file(tmp_path / "a", Key(identities=[str(RECIPIENT)]))["files/a"] == MEMBERS["files/a"]
        assert read(io.BytesIO(pyrage.decrypt(for_recipient, [RECIPIENT])))["files/a"] == MEMBERS["files/a"]
        assert b"An original" not in for_recipient

    def test_with_a_passphrase_it_is_a_tar_of_two_age_files(self, with_passphrase: bytes, identity: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(with_passphrase)) as tar:
            names = tar.getnames()
            content = tar.extractfile(names[1]).read()
        assert names == ["identity.age", "archive.tar.gz.age"]
        opened = pyrage.x25519.Identity.from_str(identity.decode().strip())
        assert read(io.BytesIO(pyrage.decrypt(content, [opened])))["files/a"] == MEMBERS["files/a"]

    @pytest.mark.parametrize(
        ("key", "told"),
        [
            (Key(), "encrypted for a recipient"),
            (Key(passphrase="open sesame"), "encrypted for a recipient"),
            (Key(identities=[str(pyrage.x25519.Identity.generate())]), "another recipient"),
            (Key(identities=["AGE-SECRET-KEY-1NONSENSE"]), "identity cannot be read"),
        ],
    )
    def test_another_key_does_not_open_it(self, key: Key, told: str, for_recipient: bytes, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(for_recipient)
        with pytest.raises(Invalid, match=told):
            read_file(tmp_path / "a", key)

    @pytest.mark.parametrize(
        ("key", "told"),
        [(Key(), "with a passphrase"), (Key(passphrase="wrong"), "does not open"), (Key(identities=["x"]), "with a")],
    )
    def test_another_passphrase_does_not_open_it(
        self, key: Key, told: str, with_passphrase: bytes, tmp_path: Path
    ) -> None:
        (tmp_path / "a").write_bytes(with_passphrase)
        with pytest.raises(Invalid, match=told):
            read_file(tmp_path / "a", key)

    def test_a_key_for_what_is_not_encrypted_is_refused(self, plain: bytes, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(plain)
        with pytest.raises(Invalid, match="not encrypted"):
            read_file(tmp_path / "a", Key(passphrase="open sesame"))

    def test_flipped_bytes_and_truncations_are_noticed(self, for_recipient: bytes, tmp_path: Path) -> None:
        key = Key(identities=[str(RECIPIENT)])
        for place in range(0, len(for_recipient), 7):
            flipped = bytearray(for_recipient)
            flipped[place] ^= 1 << place % 8
            for content in (flipped, for_recipient[:place], for_recipient + b"\0" * (place + 1)):
                (tmp_path / "a").write_bytes(content)
                with pytest.raises(Invalid):
                    read_file(tmp_path / "a", key)

    def test_the_tar_around_a_passphrases_parts_is_taken_only_as_it_was_written(
        self, with_passphrase: bytes, identity: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pyrage.passphrase, "decrypt", lambda content, _: _same(content, with_passphrase, identity))
        for place in range(0, len(with_passphrase), 7):
            flipped = bytearray(with_passphrase)
            flipped[place] ^= 1 << place % 8
            for content in (flipped, with_passphrase[:place]):
                (tmp_path / "a").write_bytes(content)
                with pytest.raises(Invalid):
                    read_file(tmp_path / "a", Key(passphrase="open sesame"))


def _same(content: bytes, whole: bytes, opened: bytes) -> bytes:
    if content not in whole:
        raise pyrage.DecryptError("Decryption failed")
    return opened


@contextmanager
def sealed(*members: bytes, end: bytes = END_OF_TAR) -> Iterator[io.BytesIO]:
    """An archive of chosen bytes with a true seal: whoever makes one can seal it."""
    content = gzip.compress(b"".join(members) + end, 1, mtime=0)
    stream = io.BytesIO(content + seal(hashlib.sha256(content).hexdigest()))
    check_seal(stream, lambda size: None)
    stream.seek(0)
    yield stream


def member(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + content + padding(len(content))


def manifest(**changes: object) -> bytes:
    values = {name: getattr(SAMPLE, name) for name in Manifest.__slots__}
    return member(MANIFEST, json.dumps(values | changes).encode())


def special(**attributes: object) -> bytes:
    info = tarfile.TarInfo("files/a")
    for name, value in attributes.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE = {
    "no manifest": (member("files/a", b"x"),),
    "a huge manifest": (member(MANIFEST, b" " * (2**20 + 1)),),
    "a manifest of nonsense": (member(MANIFEST, b"[" * 100_000),),
    "a manifest without fields": (member(MANIFEST, json.dumps({"format": FORMAT}).encode()),),
    "a symbolic link": (manifest(), special(type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a hard link": (manifest(), special(type=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "a device": (manifest(), special(type=tarfile.CHRTYPE)),
    "a folder": (manifest(), special(type=tarfile.DIRTYPE)),
    "an owner": (manifest(), special(uid=1)),
    "a long name": (manifest(), tarfile.TarInfo("files/" + "a" * 200).tobuf(tarfile.GNU_FORMAT)),
    "a larger size than there is": (manifest(), header("files/a", 2**60)),
    "a negative size": (manifest(), special(size=-5, mode=0o600)),
    "no list of digests": (manifest(),),
    "a list of other digests": (manifest(), member("files/a", b"x"), member(DIGESTS, b"0" * 64 + b"  files/a\n")),
    "something in the padding": (manifest(), header("files/a", 1) + b"x" * 512),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_pegasus_does_not_write_is_refused_even_with_a_true_seal(name: str) -> None:
    with sealed(*HOSTILE[name]) as stream, pytest.raises(Invalid), ArchiveReader(stream) as archive:
        for each in archive.members():
            each.finish()


def test_an_archive_of_a_newer_format_says_so() -> None:
    with sealed(manifest(format=FORMAT + 1, pegasus="9.0")) as stream, pytest.raises(Invalid, match=r"made by .*9\.0"):
        ArchiveReader(stream)


def test_what_is_no_archive_says_so() -> None:
    for content in (b"", b"PK\x03\x04", b"age-encryption"):
        with pytest.raises(Invalid, match="not an archive"):
            check_seal(io.BytesIO(content), lambda size: None)
