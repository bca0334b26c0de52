"""Files made to hurt who reads them: bombs, entities, climbing names, depth. Each is refused, or read as it stands."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import finished
from processes import ServerProcess

from pegasus.adapters.kreuzberg import KreuzbergTextExtractor
from pegasus.client import Client
from pegasus.errors import PegasusError, TooLarge, Unreadable
from pegasus.ingestion.archives import Limits, members
from pegasus.samples import SampleDocument, make_docx, make_epub, make_pptx, make_xlsx
from pegasus.text.formats import detect_media_type

_MIB = 2**20
DOCUMENT = SampleDocument("T", [("H", ["Body words here."])])
WORDS = b"Body words"
# Format: its maker, the part with the words, and a part that says how the others belong together.
OFFICE = {
    "a.docx": (make_docx, "word/document.xml", "word/_rels/document.xml.rels"),
    "a.pptx": (make_pptx, "ppt/slides/slide2.xml", "ppt/_rels/presentation.xml.rels"),
    "a.xlsx": (make_xlsx, "xl/worksheets/sheet1.xml", "xl/_rels/workbook.xml.rels"),
    "a.epub": (make_epub, "OEBPS/chapter1.xhtml", "OEBPS/content.opf"),
}
SECRET = "osprey-secret"
LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY e0 "lol">'
    + b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 11))
    + b"]>"
)


@pytest.fixture(scope="module")
def extractor() -> Iterator[KreuzbergTextExtractor]:
    made = KreuzbergTextExtractor(timeout_seconds=20, memory_bytes=768 * _MIB)
    yield made
    made.close()


def read(extractor: KreuzbergTextExtractor, folder: Path, content: bytes, name: str) -> str:
    """The text that comes out, or what a person is told instead."""
    path = folder / "file"
    path.write_bytes(content)
    try:
        return extractor.extract(path, detect_media_type(content, name, None), filename=name).text
    except PegasusError as error:
        assert error.hint
        return f"refused: {error.detail}"


def edited(content: bytes, part: str, edit: Callable[[bytes], bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, edit(source.read(name)) if name == part else source.read(name))
    return made.getvalue()


def with_entities(definitions: bytes, use: bytes) -> Callable[[bytes], bytes]:
    def edit(part: bytes) -> bytes:
        start = part.index(b"?>") + 2 if part.startswith(b"<?xml") else 0
        return part[:start] + definitions + part[start:].replace(WORDS, WORDS + use)

    return edit


@pytest.fixture
def external(tmp_path: Path) -> bytes:
    (tmp_path / "secret").write_text(SECRET)
    return b'<!DOCTYPE x [<!ENTITY e SYSTEM "%s">]>' % (tmp_path / "secret").as_uri().encode()


@pytest.mark.parametrize("name", OFFICE)
@pytest.mark.parametrize("which", [1, 2], ids=["text", "relations"])
class TestXmlEntities:
    def test_that_laugh_a_billion_times_are_not_expanded(
        self, extractor: KreuzbergTextExtractor, tmp_path: Path, name: str, which: int
    ) -> None:
        make, *parts = OFFICE[name]
        content = edited(make(DOCUMENT), parts[which - 1], with_entities(LAUGHS, b"&e10;"))
        found = read(extractor, tmp_path, content, name)
        assert "lollol" not in found
        assert len(found) < 1_000

    def test_that_name_a_file_do_not_bring_it(
        self, extractor: KreuzbergTextExtractor, tmp_path: Path, external: bytes, name: str, which: int
    ) -> None:
        make, *parts = OFFICE[name]
        content = edited(make(DOCUMENT), parts[which - 1], with_entities(external, b"&e;"))
        assert SECRET not in read(extractor, tmp_path, content, name)


@pytest.mark.parametrize("name", ["a.html", "a.xhtml", "a.svg", "a.xml", "a.md", "a.txt"])
@pytest.mark.parametrize(
    "frame", ["<p>{}</p>", '<iframe src="{0}"></iframe><img src="{0}">{0}', "<svg><text>{}</text></svg>"]
)
def test_a_page_brings_nothing_from_elsewhere_and_expands_nothing(
    extractor: KreuzbergTextExtractor, tmp_path: Path, external: bytes, name: str, frame: str
) -> None:
    for definitions, use in ((LAUGHS, "&e10;"), (external, "&e;"), (b"", (tmp_path / "secret").as_uri())):
        content = definitions + b"<p>Body words.</p>" + frame.format(use).encode()
        found = read(extractor, tmp_path, content, name)
        assert SECRET not in found
        assert len(found) < 2_000


@pytest.mark.parametrize("name", OFFICE)
def test_an_office_file_that_is_a_bomb_is_refused_with_the_reason(
    extractor: KreuzbergTextExtractor, tmp_path: Path, name: str
) -> None:
    """Half a megabyte that unpacks to six hundred."""
    make, part, _ = OFFICE[name]
    content = edited(make(DOCUMENT), part, lambda xml: xml.replace(WORDS, WORDS + b"A" * (600 * _MIB)))
    assert len(content) < _MIB
    assert "it needs more than 0.8 GiB of memory" in read(extractor, tmp_path, content, name)
    assert "Body words" in read(extractor, tmp_path, make(DOCUMENT), name)


@pytest.mark.parametrize("name", OFFICE)
def test_a_member_with_a_climbing_name_writes_nothing(
    extractor: KreuzbergTextExtractor, tmp_path: Path, name: str
) -> None:
    made = io.BytesIO(OFFICE[name][0](DOCUMENT))
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("../../../../../../../../tmp/pegasus-climbed", b"x")
        archive.writestr("/tmp/pegasus-climbed", b"x")
    read(extractor, tmp_path, made.getvalue(), name)
    assert not Path("/tmp/pegasus-climbed").exists()


def overlapping(members_count: int, size: int) -> bytes:
    """A ZIP whose members are all the same packed bytes, after David Fifield's "A better zip bomb"."""
    kernel = bytes(size)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(kernel) + packer.flush()
    fields = struct.pack("<HHHHHLLL", 20, 0, 8, 0, 0, zlib.crc32(kernel), len(packed), size)
    local = b"PK\x03\x04" + fields + struct.pack("<HH", 5, 0) + b"0.txt" + packed
    entries = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHHHLL", 5, 0, 0, 0, 0, 0, 0) + b"0.txt"
        for _ in range(members_count)
    )
    end = struct.pack("<HHHHLLH", 0, 0, members_count, members_count, len(entries), len(local), 0)
    return local + entries + b"PK\x05\x06" + end


def test_an_archive_whose_members_share_their_bytes_is_no_way_around_the_limits(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(overlapping(500, 8 * _MIB))
    read_bytes, refused = 0, 0
    for member in members(tmp_path / "a.zip", Limits()):
        try:
            with member.open() as source:
                while piece := source.read(_MIB):
                    read_bytes += len(piece)
        except (TooLarge, Unreadable):  # Newer Pythons refuse overlapping members themselves.
            refused += 1
    assert refused > 400
    assert read_bytes < 200 * len((tmp_path / "a.zip").read_bytes()) + 12 * _MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(
        tmp_path / "data", PEGASUS_PARSE_MEMORY_BYTES=str(512 * _MIB), PEGASUS_PARSE_TIMEOUT_SECONDS="8"
    )
    process.start().close()
    yield process
    process.end()


@pytest.fixture
def its_client(server: ServerProcess) -> Iterator[Client]:
    with closing(server.client()) as client:
        yield client


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


EATERS = {
    "bomb.docx": (edited(make_docx(DOCUMENT), "word/document.xml",
                         lambda xml: xml.replace(WORDS, WORDS + b"A" * (400 * _MIB))), "memory"),
    "many.json": (b"[" + b"{}," * 12_000_000 + b"{}]", "memory"),
    "many": (b"[" + b'{"a":[]},' * 5_000_000 + b"{}]", "memory"),
    "wide.csv": (b"ab," * 12_000_000, "memory"),
    "spin.html": (b"<a a='" * 30_000, "took longer than 8 s"),
}  # fmt: skip


@pytest.mark.slow
def test_what_eats_memory_or_time_costs_the_reading_process_and_the_job_says_so(
    server: ServerProcess, its_client: Client
) -> None:
    before = resident_bytes(server.pid)
    jobs = {
        name: its_client.call("POST", "/v1/documents", files={"file": (name, content)})["job"]["id"]
        for name, (content, _) in EATERS.items()
    }
    for name, (_, reason) in EATERS.items():
        job = finished(its_client, jobs[name])
        assert (name, job["state"]) == (name, "failed")
        assert reason in job["error"]["detail"], (name, job["error"])
        assert job["error"]["hint"]
    added = its_client.call("POST", "/v1/documents", files={"file": ("good.docx", make_docx(DOCUMENT))})
    assert finished(its_client, added["job"]["id"])["state"] == "succeeded"
    assert peak_bytes(server.pid) - before < 350 * _MIB, "the server itself never unpacked or parsed them"


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


@pytest.mark.slow
def test_archives_in_archives_end_at_the_first_whatever_they_are_called(its_client: Client) -> None:
    nested = zipped({"deepest.txt": b"kittiwake"})
    for name in ("inner.zip", "inner.bin", "inner.txt", "inner.docx"):
        nested = zipped({name: nested, f"beside-{name}.txt": f"beside {name}".encode()})
    job = its_client.call("POST", "/v1/documents", files={"file": ("outer.zip", nested)})["job"]
    assert finished(its_client, job["id"])["result"] == {"items": 2, "failed": 1}
    items = {item["name"]: item for item in its_client.lines(f"/v1/jobs/{job['id']}/results")}
    assert "ZIP archive" in items["inner.docx"]["error"]["detail"]
    assert not its_client.call("POST", "/v1/search", json={"query": "kittiwake", "mode": "lexical"})["passages"]


@pytest.mark.slow
def test_names_in_archives_reach_no_file_but_their_own(
    server: ServerProcess, its_client: Client, tmp_path: Path
) -> None:
    names = ["../up.txt", "/abs.txt", "a/../../b.txt", "C:\\c.txt", "..\\d.txt", "ok/" + "x" * 300 + ".txt",
             "con.txt", "new\nline.txt", "\x1b[2J.txt", "\u202etxt.exe", "a\x00b.txt", ".hidden.txt", "%2e%2e%2fe.txt"]  # fmt: skip
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(server.data)}
    archive = zipped({name: f"words {number}".encode() for number, name in enumerate(names)})
    job = its_client.call("POST", "/v1/documents", files={"file": ("names.zip", archive)})["job"]
    assert finished(its_client, job["id"])["state"] == "succeeded"
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(server.data)} == before
    for document in its_client.call("GET", "/v1/documents")["items"]:
        assert "\n" not in document["title"] + document["uri"]
        assert "\x1b" not in document["title"] + document["uri"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[" * 100_000, "refused: The JSON is nested deeper"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "refused: The JSON is nested deeper"),
        (b"[" * 5_000_000, "refused: The JSON is nested deeper"),
        (json.dumps({f"k{n}": n for n in range(100_000)}).encode(), "k0: 0\n"),
        (b'{"a": ' + b"9" * 5_000_000 + b"}", "a: 999"),
        (b'{"a": 1e999999999, "b": -Infinity, "c": NaN}', "a: 1e999999999\nb: -Infinity\nc: NaN"),
        (b'{"a": 1, "a": 2}', "a: 2"),
        (b'\xef\xbb\xbf{"a": "x"}', "a: x"),
        (b'{"a": "\xff"}', "refused: The text is not valid UTF-8"),
        (b'{"a": "\\ud800", "b": "\\udc00\\ud800"}', "a: \ufffd\nb: \ufffd\ufffd"),
        (b'{"a": "\\u0000b\\u0000"}', "a: b"),
        (b'{"a": "x"}' * 2, "refused: The JSON is not valid"),
        (b'{"\\u0000": {"\\ud800": "x"}}', ".\ufffd: x"),
    ],
    ids=["deep list", "deep object", "deepest", "many keys", "long number", "no numbers", "same key", "mark",
         "bad bytes", "surrogates", "nul", "two values", "odd keys"],
)  # fmt: skip
def test_json_made_to_hurt_is_refused_or_read_as_it_stands(
    extractor: KreuzbergTextExtractor, tmp_path: Path, content: bytes, told: str
) -> None:
    found = read(extractor, tmp_path, content, "a.json")
    assert found.startswith(told), found[:200]
