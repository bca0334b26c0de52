"""One bad file never takes the others with it, and each says what is wrong and what to do."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import finished
from processes import ServerProcess, command

from pegasus.samples import SampleDocument, make_docx, make_epub, make_html, make_pdf, make_pptx

SAMPLE = SampleDocument("Harbour", [("Mooring", ["Double the springs before a gale, said the heronmaster."])])
PDF = make_pdf(SAMPLE)
PASSWORD = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b"> >>"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


def deeply_nested_slide() -> bytes:
    """A presentation on which the parser overflows its stack: a real segmentation fault."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(make_pptx(SAMPLE))) as source, zipfile.ZipFile(made, "w", 8) as target:
        for name in source.namelist():
            part = source.read(name)
            target.writestr(name, part.replace(b"<p:sp>", b"<p:grpSp>" * 100_000 + b"<p:sp>", 1))
    return made.getvalue()


# Name, content, what a person is told has happened, and what to do about it.
BAD = [
    ("broken.pdf", PDF[:600], "The PDF is damaged and cannot be read", "again"),
    ("empty.txt", b"", "The file is empty: it has 0 bytes.", "Check that the upload or export was complete."),
    ("secret.pdf", PDF.replace(b"/Info 5 0 R", b"/Info 5 0 R /ID [<00> <00>] /Encrypt " + PASSWORD),
     "The PDF is protected with a password", "password"),
    ("secret.docx", OLE + "EncryptedPackage".encode("utf-16-le"), "The Office file is protected with a password.",
     "Remove the password in Office and add it again."),
    ("notes.docx", b"Only a few words.", "'notes.docx' is named like a Word document (docx), but its content is plain",
     "rename it to .txt"),
    ("photo.heic", bytes(4) + b"ftypheic" + bytes(64), "The file is a media file (MP4, HEIC), which Pegasus does not",
     "Pegasus reads PDF, Word document (docx)"),
    ("trap.html", b"<a a='" * 30_000, "Reading 'trap.html' took longer than 1 s and was stopped.", "Split the file"),
    ("cafe.txt", b"caf\xe9 at the pier", "The text is not valid UTF-8: byte 0xE9 at offset 3",
     "convert the file to UTF-8"),
    ("deep.pptx", deeply_nested_slide(), "The reader crashed on 'deep.pptx': it was ended by signal 11",
     "save it again in its own program, or split it"),
]  # fmt: skip
GOOD = [
    ("one.pdf", PDF, "heronmaster"),
    ("two.docx", make_docx(SampleDocument("Two", [("Part", ["The word is ospreytwo."])])), "ospreytwo"),
    ("three.html", make_html(SampleDocument("Three", [("Part", ["The word is ospreythree."])])), "ospreythree"),
    ("four.epub", make_epub(SampleDocument("Four", [("Part", ["The word is ospreyfour."])])), "ospreyfour"),
    ("five.md", b"# Five\n\nThe word is ospreyfive.\n", "ospreyfive"),
]
FILES = sorted((name, content) for name, content, *_ in [*BAD, *GOOD])  # good ones between bad ones


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", PEGASUS_PARSE_TIMEOUT_SECONDS="1")
    process.start().close()
    yield process
    process.end()


def assert_told(server: ServerProcess, items: dict[str, dict]) -> None:
    """What became of each file, from its own job, and that the good ones can be found."""
    assert items.keys() == {name for name, *_ in [*BAD, *GOOD]}
    client = server.client()
    for name, _, reason, hint in BAD:
        job = client.call("GET", f"/v1/jobs/{items[name]['job_id']}")
        assert (name, job["state"]) == (name, "failed")
        assert reason in job["error"]["detail"]
        assert hint in job["error"]["hint"], job["error"]
        document = client.call("GET", f"/v1/documents/{items[name]['document_id']}")
        assert (document["state"], document["error"]) == ("failed", job["error"])
    for name, _, word in GOOD:
        assert (name, items[name]["state"], items[name]["error"]) == (name, "succeeded", None)
        found = client.call("POST", "/v1/search", json={"query": word, "mode": "lexical"})["passages"]
        assert found[0]["document_id"] == items[name]["document_id"]
        assert word in found[0]["text"]
    client.close()


@pytest.mark.slow
def test_a_zip_with_bad_files(server: ServerProcess) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name, content in FILES:
            target.writestr(f"mixed/{name}", content)
    client = server.client()
    job = client.call("POST", "/v1/documents", files={"file": ("mixed.zip", archive.getvalue())})["job"]
    job = finished(client, job["id"])
    assert job["state"] == "succeeded"
    assert job["result"] == {"items": 14, "failed": 9}
    assert [job["progress"][name] for name in ("total", "done", "failed")] == [14, 14, 9]
    items = {item["name"].removeprefix("mixed/"): item for item in client.lines(f"/v1/jobs/{job['id']}/results")}
    assert_told(server, items)
    client.close()


@pytest.mark.slow
def test_a_folder_with_bad_files(server: ServerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, content in FILES:
        (folder / name).write_bytes(content)
    added = command(server.data, "add", str(folder), "--json")
    assert added.returncode == 1, added.stderr
    assert_told(server, {Path(item["source"]).name: item for item in json.loads(added.stdout)})
    again = command(server.data, "add", str(folder))
    assert again.returncode == 1
    assert "9 failed, 5 unchanged" in again.stdout
    assert "Next: mend the files that failed" in again.stdout
