"""Breaks sample files in the ways that readers trip over; the same ``Random`` always breaks them the same way."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from random import Random

from pegasus.samples import (
    SampleDocument,
    make_docx,
    make_eml,
    make_epub,
    make_html,
    make_pdf,
    make_pptx,
    make_xlsx,
)

_MOST_BYTES = 2**20
_DOCUMENT = SampleDocument(
    "Winds & the harbour",
    [
        (
            "Reading the sky",
            ["High cirrus tells of a <front>, said café owners. See https://example.org/sky.", "5 * 3."],
        ),
        ("Mooring lines", ["Double the *springs* before a gale. Anna Berg knows."] * 3),
    ],
)
_MARKDOWN = """---
title: Harbour log
---
# One `code`

See [a](b.md 'T'), [[Wiki page|label]], <https://example.org/x>, [ref] and ![i](i.png).

Two
===
~~~sh
# no heading
~~~
> quote -- 北京 e\u0301

[ref]: target.md "Title"
"""
_HTML = (
    b'<!doctype html><html><head><meta charset="windows-1252"><title>T &amp; t</title></head><body><h1>A <em>b</em></h1>'
    b'<p hidden>no</p><ol start="3"><li>x<ul><li>y</ul></ol><table><tr><th>k<th>v<tr><td>1<td>2</table>'
    b'<pre> a\n b</pre><a href="x.html?a=1&amp;b=2">l</a><script>var x = "</p>"</script><svg><text>s</text></svg>'
)
_EML = (
    b"From: =?utf-8?b?QW5uYQ==?= <anna@example.org>\r\nTo: ben@example.org, Group: a@b.c;\r\nSubject: =?iso-8859-1?q?caf=E9?=\r\n"
    b'Date: Mon, 05 Jan 2026 09:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/html; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nPHA+SGVsbG8gPGI+aGFyYm91cjwvYj48L3A+\r\n--c--\r\n"
    b"--b\r\nContent-Type: text/plain; name*=utf-8''n%20a.txt\r\nContent-Disposition: attachment; filename=\"a.txt\"\r\n\r\n"
    b"attached\r\n--b--\r\n"
)

SAMPLES: Mapping[str, bytes] = {
    "a.pdf": make_pdf(_DOCUMENT),
    "a.docx": make_docx(_DOCUMENT),
    "a.pptx": make_pptx(_DOCUMENT),
    "a.xlsx": make_xlsx(_DOCUMENT),
    "a.epub": make_epub(_DOCUMENT),
    "a.eml": make_eml(_DOCUMENT),
    "b.eml": _EML,
    "a.html": make_html(_DOCUMENT),
    "b.html": _HTML,
    "a.md": _MARKDOWN.encode(),
    "a.csv": "Name;Note;When\nAnna;\"a;b\nc\";2026-01-05\nBen;=1+1;\n;;\n".encode("utf-16"),
    "b.csv": b"Name,Note\nAnna,'x\nBen,\"y\"\"z\"\n",
    "a.json": json.dumps({"title": "T", "body": "Text.", "c": [{"d": 1.10, "e": None}, [], "f"], "g": {"h": "\ud83e\udd84"}}).encode(),
    "a.txt": "Plain words. 北京。 Z\u0335\u0327a\u0300. Dr. Berg met Anna (A.B.) at 5 p.m.\r\n\r\n- one\n- two\n".encode(),
}  # fmt: skip

# What stands in files of several formats and what their readers treat as special.
_TOKENS: Sequence[bytes] = (
    b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\t", b" " * 500, b"\x1b[31m", b"\x85", b"\xe2\x80\xa8",
    b"-1", b"0", b"4294967295", b"99999999999999999999", b"1e999", b"NaN", b"0x7fffffff", b"\xc2\xb2", b"\xd9\xa3",
    b"<", b">", b"&", b"&#0;", b"&#xD800;", b"&#x110000;", b"&#99999999999;", b"&lol;", b"]]>", b"<!--", b"<![CDATA[", b"<?xml",
    b'<!DOCTYPE x [<!ENTITY lol "lol"><!ENTITY x SYSTEM "file:///etc/hostname">]>', b"<p:grpSp>" * 200, b"<w:p>" * 200, b"<div>" * 500,
    b"<ol start=999999999999999999999>", b"<pre>", b"<title>", b"<meta charset=zlib>", b"<meta charset=utf-7>", b"<a href='", b"<td>", b"<li>",
    b"=?utf-8?b?", b"=?x?q?=FF?=", b"Content-Type: text/html; charset=idna\r\n", b"Date: never\r\n", b"boundary=", b"--b", b"name*0*=",
    b"[", b"]", b"{", b"}", b"[" * 300, b'{"a":' * 150, b'"', b"\\u0000", b"\\ud800", b"`" * 50, b"[[", b"](", b"\n---\n", b"\n===\n", b"~~~\n", b"# ",
    b"endobj", b"stream\n", b"/Length 999999999", b"/Kids [1 0 R]", b"/Filter [/FlateDecode /FlateDecode]", b"/W [9 9 9]", b"%PDF-1.7",
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x50\x4b\x06\x06",
)  # fmt: skip


def mutated(random: Random) -> tuple[str, bytes]:
    """A file name and a broken content; now and then the name is another format's."""
    name = random.choice(list(SAMPLES))
    content = SAMPLES[name]
    if zipfile.is_zipfile(io.BytesIO(content)) and random.random() < 0.8:
        content = _with_broken_parts(random, content)
    else:
        content = _broken(random, content)
    if random.random() < 0.1:
        name = random.choice([*SAMPLES, "noname", "a.zip", "a.rtf"])
    return name, content[:_MOST_BYTES]


def _broken(random: Random, content: bytes) -> bytes:
    for _ in range(random.choice([1, 1, 1, 2, 3, 8])):
        content = random.choice(_BREAKS)(random, content)
    return content


def _with_broken_parts(random: Random, content: bytes) -> bytes:
    """The same archive with well-formed headers around broken members: else the checksum is all that is ever tested."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w") as target:
        names = source.namelist()
        chosen = random.sample(names, k=random.choice([1, 1, 2]))
        for name in names:
            part = source.read(name)
            if name not in chosen:
                target.writestr(name, part)
            elif random.random() > 0.05:  # else it is missing
                target.writestr(name, _broken(random, part), random.choice([0, 8, 12, 14]))
    return made.getvalue()


def _place(random: Random, content: bytes) -> int:
    return random.randrange(len(content) + 1)


def _span(random: Random, content: bytes) -> tuple[int, int]:
    start = _place(random, content)
    return start, min(len(content), start + random.choice([1, 4, 16, 64, 256, 4096]))


def _flip(random: Random, content: bytes) -> bytes:
    broken = bytearray(content)
    for _ in range(random.choice([1, 2, 16])):
        if broken:
            broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
    return bytes(broken)


def _truncate(random: Random, content: bytes) -> bytes:
    return content[: _place(random, content)]


def _cut(random: Random, content: bytes) -> bytes:
    start, end = _span(random, content)
    return content[:start] + content[end:]


def _repeat(random: Random, content: bytes) -> bytes:
    start, end = _span(random, content)
    return content[:end] + content[start:end] * random.choice([1, 2, 10, 500]) + content[end:]


def _insert(random: Random, content: bytes) -> bytes:
    at = _place(random, content)
    return content[:at] + random.choice(_TOKENS) * random.choice([1, 1, 1, 3, 100]) + content[at:]


def _overwrite(random: Random, content: bytes) -> bytes:
    at, token = _place(random, content), random.choice(_TOKENS)
    return content[:at] + token + content[at + len(token) :]


def _noise(random: Random, content: bytes) -> bytes:
    start, end = _span(random, content)
    return content[:start] + random.randbytes(end - start) + content[end:]


def _splice(random: Random, content: bytes) -> bytes:
    """The beginning of this file and the end of another: a header that does not belong to what follows."""
    other = SAMPLES[random.choice(list(SAMPLES))]
    return content[: _place(random, content)] + other[_place(random, other) :]


def _number(random: Random, content: bytes) -> bytes:
    """A number somewhere becomes an extreme one: lengths, offsets, counts."""
    digits = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    if not digits:
        return content
    at = random.choice(digits)
    return content[:at] + random.choice([b"0", b"-1", b"65536", b"2147483648", b"9" * 30]) + content[at + 1 :]


_BREAKS: Sequence[Callable[[Random, bytes], bytes]] = (
    _flip, _truncate, _cut, _repeat, _insert, _insert, _overwrite, _noise, _splice, _number,
)  # fmt: skip
