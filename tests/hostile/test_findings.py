"""What the fuzzers found, each as small as it gets; before it was mended every one of these failed."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable

import httpx
import pytest
from calls import assert_problem

from pegasus.adapters.kreuzberg_reader import read_with_kreuzberg
from pegasus.errors import Unreadable
from pegasus.samples import SampleDocument, make_docx, make_epub, make_pptx
from pegasus.text.epub import read_epub
from pegasus.text.formats import DOCX, PPTX
from pegasus.text.mail import read_mail
from pegasus.text.markdown import read_markdown

DOCUMENT = SampleDocument("T", [("H", ["Body words here. " * 50])])


@pytest.mark.parametrize(
    "header",
    [
        "Date: Mon, 05 Jan 9999999999999999999999 09:00:00 +0100",
        "Date: Mon, 05 Jan 2026 09:00:00 +99999999999999999999",
        "Date: Mon, 05 Jan 2026 09:21474836480:00 +0100",
        "From: =?utf-8?b?QW5uYQ==?= <anna@",
        "Content-Type: text/plain; name*0*",
        "To: <",
        "To: a@[",
        "Cc: <@a:",
    ],
)
def test_a_mail_with_a_header_that_pythons_parser_falls_over_is_read(header: str) -> None:
    mail = f"{header}\r\nSubject: Weir\r\nX-Other: 1\r\n\r\nThe heron waits.\r\n".encode()
    found = read_mail(mail, None)
    assert found.text.startswith("Weir")
    assert found.text.endswith("The heron waits.")


def with_broken_packing(content: bytes, part: str) -> bytes:
    """The member's checksum and sizes are left, its packed bytes are not."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.getinfo(part)
    start = info.header_offset + 30 + len(info.filename.encode())
    broken = bytearray(content)
    broken[start : start + info.compress_size] = b"\xff" * info.compress_size
    return bytes(broken)


@pytest.mark.parametrize(
    ("read", "content", "part"),
    [
        (lambda content: read_with_kreuzberg(content, DOCX), make_docx(DOCUMENT), "word/document.xml"),
        (lambda content: read_with_kreuzberg(content, PPTX), make_pptx(DOCUMENT), "ppt/slides/slide2.xml"),
        (read_epub, make_epub(DOCUMENT), "OEBPS/chapter1.xhtml"),
    ],
    ids=["docx", "pptx", "epub"],
)
def test_an_office_file_with_broken_packing_is_refused(
    read: Callable[[bytes], object], content: bytes, part: str
) -> None:
    with pytest.raises(Unreadable, match="is damaged"):
        read(with_broken_packing(content, part))


def test_a_heading_full_of_spaces_is_read_at_once() -> None:
    """It took minutes, and within the request that added it."""
    begun = time.thread_time()
    assert read_markdown("# One" + " " * 300_000 + "two #  ").title == "One" + " " * 300_000 + "two"
    assert time.thread_time() - begun < 5


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/documents", {"GET", "POST"}),
        ("/v1/documents/batch", {"POST"}),
        ("/v1/documents/0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1", {"GET", "DELETE"}),
        ("/v1/sessions", {"GET", "POST"}),
    ],
)
def test_a_wrong_method_is_told_all_the_right_ones(http: httpx.Client, path: str, allowed: set[str]) -> None:
    answer = http.request("PATCH", path)
    assert_problem(answer, 405, "about:blank")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/search", "/v1/ask", "/v1/sessions", "/v1/keys"])
def test_json_that_is_no_utf8_has_an_answer_that_the_description_names(http: httpx.Client, path: str) -> None:
    answer = http.post(path, content=b'{"text": "\xff"}', headers={"Content-Type": "application/json"})
    described = http.get("/openapi.json").json()["paths"][path]["post"]["responses"]
    assert answer.status_code in (400, 422)
    assert str(answer.status_code) in described


@pytest.mark.parametrize("number", [0, 1_700_000_000, 1.5, "1700000000", "-1"])
def test_a_number_is_no_time(http: httpx.Client, number: object) -> None:
    problem = assert_problem(http.post("/v1/search", json={"query": "heron", "since": number}), 422, "invalid")
    assert "2026-01-31T12:00:00Z" in problem["detail"]
