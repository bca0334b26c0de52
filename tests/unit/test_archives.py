"""Archives from strangers: what is refused, member by member, and what still comes out."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from pegasus.errors import PegasusError, TooLarge, Unreadable
from pegasus.ingestion.archives import Limits, members


def write_zip(path: Path, files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def outcomes(path: Path, limits: Limits | None = None) -> dict[str, bytes | str]:
    """By member: its bytes, or what a person is told instead."""
    found: dict[str, bytes | str] = {}
    for member in members(path, limits or Limits()):
        try:
            with member.open() as source:
                found[member.name] = source.read()
        except PegasusError as error:
            found[member.name] = error.detail
    return found


def test_files_come_out_and_clutter_is_left_out(tmp_path: Path) -> None:
    clutter = {"folder/": b"", "__MACOSX/a.txt": b"x", "folder/.DS_Store": b"x", ".git/config": b"x"}
    path = write_zip(tmp_path / "a.zip", {"a.txt": b"one", "folder/b.md": b"two", **clutter})
    assert outcomes(path) == {"a.txt": b"one", "folder/b.md": b"two"}


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.txt", "a/../../up.txt", "C:\\up.txt", "..\\up.txt"])
def test_a_climbing_name_is_refused_and_the_rest_goes_on(tmp_path: Path, name: str) -> None:
    found = outcomes(write_zip(tmp_path / "a.zip", {name: b"x", "good.txt": b"good"}))
    assert "absolute or climbing path" in str(found[name.replace("\\", "/")])
    assert found["good.txt"] == b"good"


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert outcomes(tmp_path / "a.zip") == {"link.txt": "'link.txt' is a link, and links are not followed."}


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    content = bytearray(write_zip(tmp_path / "a.zip", {"secret.txt": b"x", "open.txt": b"y"}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first entry in the directory
    (tmp_path / "a.zip").write_bytes(content)
    assert outcomes(tmp_path / "a.zip") == {"secret.txt": "'secret.txt' is encrypted.", "open.txt": b"y"}


def test_an_archive_in_the_archive_is_refused(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"a.txt": b"x"}).read_bytes()
    found = outcomes(write_zip(tmp_path / "a.zip", {"inner.ZIP": inner, "b.txt": b"b"}))
    assert "is an archive inside the archive" in str(found["inner.ZIP"])
    assert found["b.txt"] == b"b"


def test_a_damaged_member_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bad.txt": b"0123456789", "good.txt": b"good"}, method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))
    found = outcomes(path)
    assert "'bad.txt' in the archive is damaged: Bad CRC-32" in str(found["bad.txt"])
    assert found["good.txt"] == b"good"


def test_a_large_member_is_refused_by_its_header(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"big.txt": bytes(2000), "good.txt": b"good"})
    found = outcomes(path, Limits(max_member_bytes=1000))
    assert found == {"big.txt": "'big.txt' is larger than 1,000 bytes.", "good.txt": b"good"}


def test_a_header_that_lies_about_the_size_yields_no_more_than_it_says(tmp_path: Path) -> None:
    """zipfile stops at the stated size, and the checksum of what came out is then wrong."""
    content = bytearray(write_zip(tmp_path / "a.zip", {"big.txt": bytes(2_000_000)}).read_bytes())
    struct.pack_into("<L", content, content.index(b"PK\x01\x02") + 24, 10)
    (tmp_path / "a.zip").write_bytes(content)
    found = outcomes(tmp_path / "a.zip", Limits(max_member_bytes=1000))
    assert "'big.txt' in the archive is damaged" in str(found["big.txt"])


def test_members_beyond_the_total_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.txt": bytes(400) for n in range(3)})
    found = outcomes(path, Limits(max_total_bytes=1000))
    assert [isinstance(found[f"{n}.txt"], bytes) for n in range(3)] == [True, True, False]
    assert "The archive unpacks to more than 1,000 bytes" in str(found["2.txt"])


def test_a_bomb_is_stopped_while_it_unpacks(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"bomb.txt": bytes(5_000_000)})
    read = 0
    for member in members(path, Limits(max_ratio=100, ratio_free_bytes=100_000)):
        with member.open() as source, pytest.raises(TooLarge, match="more than 100 times its packed size"):
            while piece := source.read(10_000):
                read += len(piece)
    assert 100_000 < read < 1_000_000


def test_small_repetitive_files_are_no_bomb(tmp_path: Path) -> None:
    assert outcomes(write_zip(tmp_path / "a.zip", {"zeros.txt": bytes(500_000)})) == {"zeros.txt": bytes(500_000)}


def test_too_many_members_refuse_the_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.txt": b"" for n in range(11)})
    with pytest.raises(TooLarge, match="The archive lists more than 10 files"):
        list(members(path, Limits(max_members=10)))


def test_a_huge_directory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n:0200}.txt": b"" for n in range(400)})
    monkeypatch.setattr(zipfile, "ZipFile", pytest.fail)
    with pytest.raises(TooLarge, match="The archive lists more than 10 files"):
        list(members(path, Limits(max_members=10)))


@pytest.mark.parametrize("content", [b"not a zip", b"PK\x03\x04" + bytes(50), b""])
def test_what_is_no_archive_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(Unreadable, match="The archive cannot be opened: File is not a zip file"):
        list(members(tmp_path / "a.zip", Limits()))


def test_a_member_is_read_as_a_stream(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.txt": b"line one\nline two\n"})
    for member in members(path, Limits()):
        with member.open() as source:
            assert isinstance(source, io.BufferedReader)
            assert source.readline() == b"line one\n"
