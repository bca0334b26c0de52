"""What a file is, and what a person is told when it is not what it claims."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

import pytest

from pegasus.errors import Unreadable, UnsupportedFormat
from pegasus.samples import SampleDocument, make_docx, make_eml, make_epub, make_html, make_pdf, make_pptx, make_xlsx
from pegasus.text import formats
from pegasus.text.formats import decode_text, detect_media_type

DOCUMENT = SampleDocument("Harbour log", [("Morning", ["The tide came in."])])
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
NOISE = random.Random(7).randbytes(4096)


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize("misleading_name", [None, "notes.txt", "page.html", "data.json"])
@pytest.mark.parametrize(
    ("make", "media_type"),
    [
        (make_pdf, formats.PDF),
        (make_docx, formats.DOCX),
        (make_pptx, formats.PPTX),
        (make_xlsx, formats.XLSX),
        (make_epub, formats.EPUB),
    ],
)
def test_content_decides_over_the_name(
    make: Callable[[SampleDocument], bytes], media_type: str, misleading_name: str | None
) -> None:
    assert detect_media_type(make(DOCUMENT), misleading_name, "text/plain") == media_type


@pytest.mark.parametrize(
    ("content", "filename", "declared", "media_type"),
    [
        (b"a,b\n1,2\n", "table.csv", None, formats.CSV),
        (b"a\tb\n", "table.TSV", None, formats.CSV),
        (b"# Title\n", "note.md", "text/plain", formats.MARKDOWN),
        (b"# Title\n", "note.txt", None, formats.TEXT),
        (b"# Title\n\nText [link](x.md).\n", "README", None, formats.MARKDOWN),
        (b"# comment\nx = 1\n", "script.py", None, formats.TEXT),
        (b"words", None, "text/markdown; charset=utf-8", formats.MARKDOWN),
        (b"words", None, "application/octet-stream", formats.TEXT),
        (b'{"a": [1]}', None, None, formats.JSON),
        (b"[not json]", None, None, formats.TEXT),
        (b"{" * 100_000, None, None, formats.TEXT),
        ("text".encode("utf-16"), None, None, formats.TEXT),
        ("text".encode("utf-16-le"), "a.txt", "text/plain; charset=UTF-16LE", formats.TEXT),
        (zip_of("a.txt", "b.txt"), "docs.zip", None, formats.ZIP),
        (make_eml(DOCUMENT), None, None, formats.EML),
        (make_html(DOCUMENT), None, None, formats.HTML),
    ],
)
def test_text_is_told_by_name_then_declaration_then_content(
    content: bytes, filename: str | None, declared: str | None, media_type: str
) -> None:
    assert detect_media_type(content, filename, declared) == media_type


@pytest.mark.parametrize(
    ("content", "filename", "message"),
    [
        (PNG, "photo.png", "The file is a PNG image, which Pegasus does not read."),
        (PNG, None, "The file is a PNG image, which Pegasus does not read."),
        (b"MZ\x90\x00" + bytes(60), "setup.exe", "The file is a Windows program, which Pegasus does not read."),
        (PNG, "report.docx", "'report.docx' is named like a Word document (docx), but its content is a PNG image."),
        (NOISE, "report.pdf", "'report.pdf' is named like a PDF, but its content is unknown binary data"),
        (NOISE, "notes.txt", "'notes.txt' is named like a plain text, but its content is unknown binary data"),
        (b"Dear Ann,\n", "letter.pdf", "'letter.pdf' is named like a PDF, but its content is plain text."),
        (b"{\\rtf1 hello}", "a.rtf", "The file is an RTF document, which Pegasus does not read."),
        (zip_of("xl/workbook.bin"), "a.xlsb", "The file is a binary Excel workbook (xlsb)"),
    ],
)
def test_a_format_that_is_not_read_is_named(content: bytes, filename: str | None, message: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        detect_media_type(content, filename, None)
    assert caught.value.detail.startswith(message)


def test_a_refusal_lists_what_is_supported() -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        detect_media_type(PNG, None, None)
    for name in ("PDF", "docx", "pptx", "xlsx", "HTML", "Markdown", "CSV", "JSON", "eml", "EPUB", "ZIP"):
        assert name in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("stream", "name", "save_as"),
    [("WordDocument", "doc", "docx"), ("Workbook", "xls", "xlsx"), ("PowerPoint Document", "ppt", "pptx")],
)
def test_old_office_files_come_with_the_way_out(stream: str, name: str, save_as: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        detect_media_type(OLE + stream.encode("utf-16-le"), f"a.{name}", None)
    assert f"({name})" in caught.value.detail
    assert (caught.value.hint or "").startswith(f"Save it as {save_as}")


def test_an_office_file_with_a_password_says_so() -> None:
    with pytest.raises(Unreadable, match="The Office file is protected with a password"):
        detect_media_type(OLE + "EncryptedPackage".encode("utf-16-le"), "plan.docx", None)


def test_an_empty_file_says_so() -> None:
    with pytest.raises(Unreadable, match="The file is empty: it has 0 bytes"):
        detect_media_type(b"", "a.txt", None)


def test_a_cut_office_file_says_so() -> None:
    with pytest.raises(Unreadable, match="starts like a ZIP, docx, pptx, xlsx or EPUB, but cannot be opened"):
        detect_media_type(make_docx(DOCUMENT)[:500], "plan.docx", None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_honoured_over_the_charset(encoding: str) -> None:
    assert (
        decode_text("Räka 日本 🦐\n".encode(encoding), None if encoding == "utf-8" else "latin-1") == "Räka 日本 🦐\n"
    )


def test_a_declared_charset_is_used() -> None:
    assert decode_text("smörgås".encode("cp1252"), "windows-1252") == "smörgås"


def test_newlines_become_line_feeds() -> None:
    assert decode_text(b"a\r\nb\rc\n", None) == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("content", "charset", "message"),
    [
        (b"caf\xe9 noir", None, r"not valid UTF-8: byte 0xE9 at offset 3"),
        (b"abc\xe2\x82", None, r"not valid UTF-8: byte 0xE2 at offset 3"),
        (b"abc", "klingon", "The charset 'klingon' is not one that Pegasus knows"),
        (b"abc", "zlib_codec", "The charset 'zlib_codec' is not one that Pegasus knows"),
        (b"\\ud800", "unicode_escape", "character 0 is half of a surrogate pair"),
        (b"ab\0c", None, "there is a NUL character at offset 2"),
    ],
)
def test_bytes_that_are_no_text_are_located(content: bytes, charset: str | None, message: str) -> None:
    with pytest.raises(Unreadable, match=message) as caught:
        decode_text(content, charset)
    assert caught.value.hint
