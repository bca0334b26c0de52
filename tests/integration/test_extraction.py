"""Files read by the real child process: what comes out, what is refused, and what becomes of the process."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from pegasus.adapters.kreuzberg import KreuzbergTextExtractor
from pegasus.domain import Extraction, Link
from pegasus.errors import Unavailable, Unreadable, UnsupportedFormat
from pegasus.samples import SampleDocument, make_docx, make_eml, make_epub, make_html, make_pdf, make_pptx, make_xlsx
from pegasus.text import formats
from pegasus.text.formats import detect_media_type

DOCUMENT = SampleDocument(
    "Winds & the harbour",
    [
        (
            "Reading the sky",
            ["High cirrus tells of a front <within> a day, said café owners.", "5 * 3 and under_score."],
        ),
        ("Mooring lines", ["Double the *springs* before a gale.", "7. Not a list.", "# Not a heading."]),
    ],
)
SMALL_PDF = make_pdf(DOCUMENT)
# The standard library's HTML parser takes quadratic time for it: about a minute.
SLOW_HTML = b"<a a='" * 30_000
LONG = 30.0


@pytest.fixture(scope="module")
def shared() -> Iterator[KreuzbergTextExtractor]:
    extractor = KreuzbergTextExtractor()
    yield extractor
    extractor.close()


@pytest.fixture
def make_extractor() -> Iterator[Callable[..., KreuzbergTextExtractor]]:
    made: list[KreuzbergTextExtractor] = []

    def make(**options: object) -> KreuzbergTextExtractor:
        made.append(KreuzbergTextExtractor(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for extractor in made:
        extractor.close()


def stored(folder: Path, content: bytes) -> Path:
    """As a file store keeps it: under a name that says nothing."""
    path = folder / "0123456789abcdef"
    path.write_bytes(content)
    return path


def read(extractor: KreuzbergTextExtractor, folder: Path, content: bytes, name: str | None = None) -> Extraction:
    media_type = detect_media_type(content, name, None)
    found = extractor.extract(stored(folder, content), media_type, filename=name)
    assert_storable(found)
    return found


def assert_storable(found: Extraction) -> None:
    assert "\r" not in found.text
    assert "\0" not in found.text
    assert found.text.encode("utf-8").decode("utf-8") == found.text
    for heading in found.headings:
        assert found.text[heading.start : heading.start + len(heading.title)] == heading.title
        assert "\n" not in heading.title


def edited(content: bytes, part: str, edit: Callable[[bytes], bytes]) -> bytes:
    """The ZIP file with one part changed."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(result, "w") as target:
        for name in source.namelist():
            target.writestr(name, edit(source.read(name)) if name == part else source.read(name))
    return result.getvalue()


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


class TestFormats:
    @pytest.mark.parametrize("make", [make_pdf, make_docx, make_pptx, make_epub, make_eml, make_html])
    def test_every_word_comes_back(
        self, shared: KreuzbergTextExtractor, tmp_path: Path, make: Callable[[SampleDocument], bytes]
    ) -> None:
        found = read(shared, tmp_path, make(DOCUMENT))
        for heading, paragraphs in DOCUMENT.sections:
            for line in (heading, *paragraphs):
                assert line in found.text
        assert found.title == DOCUMENT.title

    @pytest.mark.parametrize("make", [make_pdf, make_docx, make_pptx, make_html])
    def test_headings_stand_on_lines_of_their_own(
        self, shared: KreuzbergTextExtractor, tmp_path: Path, make: Callable[[SampleDocument], bytes]
    ) -> None:
        found = read(shared, tmp_path, make(DOCUMENT))
        assert [heading.title for heading in found.headings] == [
            "Winds & the harbour",
            "Reading the sky",
            "Mooring lines",
        ]
        assert {heading.title for heading in found.headings} < set(found.text.split("\n"))

    def test_sheets_become_headings_and_rows_records(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        found = read(shared, tmp_path, make_xlsx(DOCUMENT))
        assert [heading.title for heading in found.headings] == ["Reading the sky", "Mooring lines"]
        assert "No: 1\nWinds & the harbour: Double the *springs* before a gale." in found.text
        assert found.metadata["sheets"] == 2

    def test_chapters_become_headings(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        found = read(shared, tmp_path, make_epub(DOCUMENT))
        assert [heading.title for heading in found.headings] == ["Reading the sky", "Mooring lines"]
        assert found.text.count("Reading the sky") == 1
        assert found.metadata == {"author": "Pegasus samples", "language": "en"}

    def test_a_mail_tells_who_wrote_to_whom(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        found = read(shared, tmp_path, make_eml(DOCUMENT))
        assert found.text.startswith(
            "Winds & the harbour\n\nFrom: Ada Sample <ada@example.org>\nTo: Ben Sample <ben@example.org>\nDate: Mon, 05"
        )
        assert found.metadata == {
            "from": "Ada Sample <ada@example.org>",
            "to": "Ben Sample <ben@example.org>",
            "subject": "Winds & the harbour",
            "created": "2026-01-05T09:00:00+00:00",
        }

    def test_a_mail_in_html_is_read_as_a_page(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = "Plan", "a@example.org", "b@example.org"
        mail.set_content("<h2>Steps</h2>first<p>R&amp;D <a href='http://x.org'>site</a></p>", subtype="html")
        mail.add_attachment(b"x", maintype="text", subtype="plain", filename="n.txt")
        found = read(shared, tmp_path, mail.as_bytes())
        assert found.text.endswith("Steps\n\nfirst\n\nR&D site")
        assert found.links == [Link("http://x.org", "site", "hyperlink")]
        assert found.metadata["attachments"] == ["n.txt"]

    def test_furniture_of_a_page_is_not_text(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        text = read(shared, tmp_path, make_html(DOCUMENT)).text
        assert not [word for word in ("Home", "console", "margin", "Printed by") if word in text]

    def test_a_word_document_keeps_what_kreuzberg_drops(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        body = (
            b"<w:p><w:r><w:t>AT&amp;T &#233; &lt;b&gt;</w:t></w:r><w:r><w:tab/><w:t>after</w:t></w:r></w:p>"
            b"<w:p><w:hyperlink"
            b' r:id="rId9" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><w:r><w:t>R&amp;D'
            b"</w:t></w:r></w:hyperlink></w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>a|b</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r>"
            b"<w:t>c &amp; d</w:t></w:r></w:p></w:tc></w:tr></w:tbl><w:sectPr/>"
        )
        link = (
            b'<Relationship Id="rId9" TargetMode="External" Target="https://x.org/?a=1&amp;b=2" '
            b'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/hyperlink"/></Relationships>'
        )
        content = edited(make_docx(DOCUMENT), "word/document.xml", lambda part: part.replace(b"<w:sectPr/>", body))
        content = edited(content, "word/_rels/document.xml.rels", lambda part: part.replace(b"</Relationships>", link))
        found = read(shared, tmp_path, content)
        assert found.text.endswith("AT&T é <b>\tafter\n\nR&D\n\na|b\tc & d")
        assert found.links == [Link("https://x.org/?a=1&b=2", "R&D", "hyperlink")]

    def test_a_long_pdf_keeps_its_headings(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        chapters = [
            (f"Chapter {n} of tides", [f"Water rises in chapter {n}, slowly and at night. " * 60]) for n in range(30)
        ]
        found = read(shared, tmp_path, make_pdf(SampleDocument("The long book of tides", chapters)))
        assert [heading.title for heading in found.headings][1:] == [title for title, _ in chapters]
        assert found.metadata["pages"] > 10

    @pytest.mark.parametrize(
        ("name", "content", "text"),
        [
            ("a.txt", b"one\r\ntwo\r", "one\ntwo\n"),
            ("a.md", b"# One\r\n\r\n*text*\n", "# One\n\n*text*\n"),
            ("a.csv", b"k;v\nx;=1+1\n", "k: x\nv: =1+1"),
            ("a.json", b'{"k": {"v": 1.50}}', "k.v: 1.50"),
        ],
    )
    def test_light_formats_are_read_without_a_child(
        self,
        make_extractor: Callable[..., KreuzbergTextExtractor],
        tmp_path: Path,
        name: str,
        content: bytes,
        text: str,
    ) -> None:
        extractor = make_extractor(child_command=["/does/not/exist"])
        assert read(extractor, tmp_path, content, name).text == text

    def test_a_charset_is_passed_on(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        page = stored(tmp_path, "<p>smörgås".encode("cp1252"))
        assert shared.extract(page, formats.HTML, charset="windows-1252").text == "smörgås"
        assert shared.extract(page, formats.TEXT, charset="windows-1252").text == "<p>smörgås"


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.pdf", SMALL_PDF[:600], "The PDF is damaged and cannot be read: "),
            ("a.pdf", make_pdf(SampleDocument("")), "The PDF has no text layer: its pages are images."),
            ("a.docx", edited(make_docx(DOCUMENT), "word/document.xml", lambda _: b"<w:document><w:p>"), "No text was"),
            (
                "a.pptx",
                edited(make_pptx(DOCUMENT), "ppt/slides/slide2.xml", lambda _: b"<w><"),
                "The PowerPoint presen",
            ),
            (
                "a.epub",
                edited(make_epub(DOCUMENT), "OEBPS/content.opf", lambda _: b"<"),
                "The EPUB is damaged: unclosed",
            ),
            ("a.html", b"<html><script>x</script></html>", "No text was found in the HTML: it is empty"),
            ("a.html", b"<p>caf\xe9</p>", "The text is not valid UTF-8: byte 0xE9 at offset 6"),
            ("a.eml", b"no headers at all", "The mail has no headers."),
            ("a.txt", b" \n\t\n", "The plain text file holds no text"),
            ("a.txt", b"caf\xe9", "The text is not valid UTF-8: byte 0xE9 at offset 3"),
            ("a.json", b"[1, 2", "The JSON is not valid: Expecting ',' delimiter at line 1, column 6"),
        ],
    )
    def test_a_file_without_text_says_why(
        self, shared: KreuzbergTextExtractor, tmp_path: Path, name: str, content: bytes, message: str
    ) -> None:
        with pytest.raises(Unreadable) as caught:
            read(shared, tmp_path, content, name)
        assert caught.value.detail.startswith(message)
        assert caught.value.hint

    def test_a_scanned_pdf_needs_ocr(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        with pytest.raises(Unreadable) as caught:
            read(shared, tmp_path, make_pdf(SampleDocument("")))
        assert "OCR" in (caught.value.hint or "")

    def test_a_pdf_with_a_password_says_so(self, shared: KreuzbergTextExtractor, tmp_path: Path) -> None:
        """Standard encryption, 40 bits, with a user password that nobody knows."""
        key = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >>"
        locked = SMALL_PDF.replace(b"/Info 5 0 R", b"/Info 5 0 R /ID [<00> <00>] /Encrypt " + key)
        with pytest.raises(Unreadable, match="The PDF is protected with a password"):
            read(shared, tmp_path, locked)

    @pytest.mark.parametrize("media_type", [formats.ZIP, "image/png"])
    def test_what_is_no_document_is_refused(
        self, shared: KreuzbergTextExtractor, tmp_path: Path, media_type: str
    ) -> None:
        with pytest.raises(UnsupportedFormat):
            shared.extract(stored(tmp_path, b"x"), media_type)


class TestChildProcess:
    def test_the_parent_never_loads_kreuzberg(self) -> None:
        check = "import sys, pegasus.adapters.kreuzberg; sys.exit('kreuzberg' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

    def test_one_child_reads_many_files_from_many_threads(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path
    ) -> None:
        extractor, path = make_extractor(), stored(tmp_path, SMALL_PDF)
        assert extractor.child_pid is None
        texts: list[str] = []
        threads = [
            threading.Thread(target=lambda: texts.append(extractor.extract(path, formats.PDF).text)) for _ in range(8)
        ]
        extractor.extract(path, formats.PDF)
        pid = extractor.child_pid
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(texts) == 8
        assert len(set(texts)) == 1
        assert extractor.child_pid == pid

    def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_read(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path
    ) -> None:
        extractor = make_extractor(timeout_seconds=LONG)
        started = time.monotonic()
        with pytest.raises(Unreadable, match="Reading 'trap.html' took longer than 1.5 s and was stopped"):
            extractor.extract(stored(tmp_path, SLOW_HTML), formats.HTML, filename="trap.html", timeout_seconds=1.5)
        assert time.monotonic() - started < 20
        assert "Mooring lines" in read(extractor, tmp_path, SMALL_PDF).text

    def test_a_file_that_needs_too_much_memory_says_so_and_the_next_one_is_read(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path
    ) -> None:
        extractor = make_extractor(memory_bytes=800 * 1024**2)
        huge = stored(tmp_path, b"")
        os.truncate(huge, 1024**3)
        with pytest.raises(
            Unreadable, match=r"The reader crashed on 'huge.html': it needs more than 0.8 GiB of memory"
        ):
            extractor.extract(huge, formats.HTML, filename="huge.html")
        assert "Mooring lines" in read(extractor, tmp_path, SMALL_PDF).text

    @pytest.mark.parametrize(
        ("program", "reason"),
        [
            ("import os; os.kill(os.getpid(), 11)", "it was ended by signal 11 (Segmentation fault)"),
            ("raise SystemExit('library missing')", "library missing (exit status 1)"),
            ("pass", "without a message (exit status 0)"),
            ("import sys; sys.stdin.buffer.read(9); print('abc')", "without a message (exit status 0)"),
        ],
    )
    def test_a_crash_is_told_with_its_reason(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path, program: str, reason: str
    ) -> None:
        extractor = make_extractor(child_command=[sys.executable, "-c", program])
        with pytest.raises(Unreadable) as caught:
            extractor.extract(stored(tmp_path, SMALL_PDF), formats.PDF, filename="a.pdf")
        assert caught.value.detail == f"The reader crashed on 'a.pdf': {reason}."

    def test_a_feed_that_keeps_its_parser_busy_is_given_up(
        self, make_extractor: Callable[..., KreuzbergTextExtractor]
    ) -> None:
        extractor = make_extractor(
            child_command=[sys.executable, "-c", "import time; time.sleep(30)"], timeout_seconds=0.5
        )
        with pytest.raises(Unreadable, match="'https://feed.example/' took longer than 0.5 s"):
            extractor.read_feed(b"<rss/>", "https://feed.example/", None)

    def test_a_child_that_is_killed_from_outside_says_nothing_about_its_file(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path
    ) -> None:
        """As the system does when memory is short: a later try may succeed, and finds a child of its own."""
        extractor = make_extractor(child_command=[sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
        with pytest.raises(Unavailable, match=r"killed from outside while it read 'a\.pdf'"):
            extractor.extract(stored(tmp_path, SMALL_PDF), formats.PDF, filename="a.pdf")

    def test_a_child_that_was_killed_between_files_is_replaced(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path
    ) -> None:
        extractor = make_extractor()
        read(extractor, tmp_path, SMALL_PDF)
        pid = extractor.child_pid or 0
        os.kill(pid, signal.SIGKILL)
        assert gone_within(pid, 30)
        assert "Mooring lines" in read(extractor, tmp_path, SMALL_PDF).text
        assert extractor.child_pid != pid

    def test_a_file_is_not_blamed_for_a_crash_that_a_fresh_child_does_not_have(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path
    ) -> None:
        """This child answers once and dies of its second file, whichever that is."""
        program = (
            "import json, struct, sys;"
            "size = lambda: struct.unpack('>L', sys.stdin.buffer.read(4))[0];"
            "sys.stdin.buffer.read(size()); "
            "extraction = dict(text='x', title=None, headings=[], links=[], metadata={});"
            "reply = json.dumps({'extraction': extraction}).encode();"
            "sys.stdout.buffer.write(struct.pack('>L', len(reply)) + reply); sys.stdout.flush();"
            "sys.stdin.buffer.read(size())"
        )
        extractor = make_extractor(child_command=[sys.executable, "-c", program])
        assert [read(extractor, tmp_path, SMALL_PDF).text for _ in range(3)] == ["x", "x", "x"]

    def test_an_idle_child_ends_and_a_later_file_starts_another(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path
    ) -> None:
        extractor = make_extractor(idle_seconds=0.3)
        read(extractor, tmp_path, SMALL_PDF)
        assert gone_within(extractor.child_pid or 0, 30)
        assert "Mooring lines" in read(extractor, tmp_path, SMALL_PDF).text

    def test_close_ends_the_child(self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path) -> None:
        extractor = make_extractor()
        read(extractor, tmp_path, SMALL_PDF)
        pid = extractor.child_pid or 0
        extractor.close()
        assert not alive(pid)
        assert extractor.child_pid is None

    def test_the_child_sees_no_secrets_and_no_open_files(
        self, make_extractor: Callable[..., KreuzbergTextExtractor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PEGASUS_API_KEY", "secret")
        extractor = make_extractor()
        with (tmp_path / "open.db").open("w"):
            read(extractor, tmp_path, SMALL_PDF)
            process = Path(f"/proc/{extractor.child_pid}")
            assert b"secret" not in process.joinpath("environ").read_bytes()
            assert not [link for link in process.joinpath("fd").iterdir() if "open.db" in str(link.readlink())]

    @pytest.mark.parametrize(
        ("content", "media_type", "at_work"), [(SMALL_PDF, "PDF", False), (SLOW_HTML, "HTML", True)]
    )
    def test_no_orphan_is_left_when_the_parent_is_killed(
        self, tmp_path: Path, content: bytes, media_type: str, at_work: bool
    ) -> None:
        """An idle child sees its stdin close; one that hangs is ended by its own alarm."""
        program = f"""if True:
            import sys, threading, time
            from pathlib import Path
            from pegasus.adapters.kreuzberg import KreuzbergTextExtractor
            from pegasus.text import formats

            extractor = KreuzbergTextExtractor(timeout_seconds=2)
            reading = threading.Thread(target=extractor.extract, args=(Path(sys.argv[1]), formats.{media_type}))
            reading.start()
            if {at_work}:
                while extractor.child_pid is None:
                    time.sleep(0.02)
                time.sleep(0.7)
            else:
                reading.join()
            print(extractor.child_pid, flush=True)
            time.sleep(60)
        """
        command = [sys.executable, "-c", program, str(stored(tmp_path, content))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            assert alive(child)
            parent.kill()
        assert gone_within(child, 30)
