"""The child process that parses files from strangers, so that a hang or a crash costs one file and not the server.

A request and its reply are JSON objects, each behind its length in four bytes. Run by ``KreuzbergTextExtractor``.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from pegasus.domain import Extraction, Heading, Link
from pegasus.errors import PegasusError, TooLarge, Unreadable, UnsupportedFormat
from pegasus.text import formats
from pegasus.text.composer import clean
from pegasus.text.epub import read_epub
from pegasus.text.feed import FeedEntry, read_feed
from pegasus.text.html import read_html
from pegasus.text.mail import read_mail
from pegasus.text.markdown import read_markdown
from pegasus.text.records import read_csv, read_json

# Read in a moment and without a parser of others' making; large ones all the same belong in the child.
LIGHT: Mapping[str, Callable[[str], Extraction]] = {
    formats.TEXT: Extraction,
    formats.MARKDOWN: read_markdown,
    formats.CSV: read_csv,
    formats.JSON: read_json,
}
# Not a kind of document, but parsed as far away from the server.
FEED = "feed"
_LENGTH = struct.Struct(">L")
_MAX_FRAME_BYTES = 256 * 1024 * 1024
_ALARM_GRACE_SECONDS = 2
_ERRORS: Mapping[str, type[PegasusError]] = {kind.code: kind for kind in (TooLarge, Unreadable, UnsupportedFormat)}


def write_frame(stream: IO[bytes], value: Mapping[str, Any]) -> None:
    payload = json.dumps(value).encode()
    if len(payload) > _MAX_FRAME_BYTES:
        raise TooLarge(
            f"The file's text takes more than {_MAX_FRAME_BYTES:,} bytes.", hint="Split the file into parts."
        )
    stream.write(_LENGTH.pack(len(payload)) + payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next object; None when the other side is gone, even in the middle of one."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    payload = stream.read(min(length, _MAX_FRAME_BYTES))
    if len(payload) < length:
        return None
    value: dict[str, Any] = json.loads(payload)
    return value


def to_entries(reply: Mapping[str, Any]) -> list[FeedEntry]:
    """The entries of a feed in a reply; raises the error that stands there instead."""
    _raise_error(reply)
    return [FeedEntry(**entry) for entry in reply["entries"]]


def _raise_error(reply: Mapping[str, Any]) -> None:
    if error := reply.get("error"):
        raise _ERRORS[error["code"]](error["detail"], hint=error["hint"])


def to_extraction(reply: Mapping[str, Any]) -> Extraction:
    """The extraction in a reply; raises the error that stands there instead."""
    _raise_error(reply)
    found = reply["extraction"]
    return Extraction(
        found["text"],
        found["title"],
        [Heading(**heading) for heading in found["headings"]],
        [Link(**link) for link in found["links"]],
        found["metadata"],
    )


def main(memory_bytes: int) -> None:
    """Answers requests from stdin until it closes, which it does when the parent is gone, however it died."""
    _limit_memory(memory_bytes)
    # Ctrl-C reaches every process of a terminal; the parent decides what becomes of the file at hand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not stand among the replies
    while (request := read_frame(requests)) is not None:
        _set_alarm(request["timeout_seconds"] + _ALARM_GRACE_SECONDS)
        try:
            write_frame(replies, _answer(request))
        except PegasusError as error:
            _write_error(replies, error)
        except MemoryError:
            raise  # What is left of this process cannot be relied upon.
        except Exception as error:  # noqa: BLE001 - parsers of others' files raise whatever they stumble over.
            _write_error(replies, _stumbled(error, request["media_type"]))
        _set_alarm(0)


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    if request["media_type"] != FEED:
        return {"extraction": asdict(_read(request))}
    entries = read_feed(request["content"].encode("latin-1"), request["url"], request["content_type"])
    return {"entries": [asdict(entry) for entry in entries]}


def _write_error(replies: IO[bytes], error: PegasusError) -> None:
    write_frame(replies, {"error": {"code": error.code, "detail": error.detail, "hint": error.hint}})


def _stumbled(error: Exception, media_type: str) -> Unreadable:
    name = formats.NAMES.get(media_type, media_type)
    return Unreadable(
        f"The {name} is damaged and cannot be read: {type(error).__name__}: {str(error)[:200]}.",
        hint="Open and save it again in its own program, or download it once more.",
    )


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _set_alarm(seconds: float) -> None:
    """Lets the system end this process in the midst of a hang when there is no parent left to do it; 0 calls it off."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)


def read_light(content: bytes, media_type: str, charset: str | None) -> Extraction:
    """The text of one of the ``LIGHT`` formats."""
    extraction = LIGHT[media_type](clean(formats.decode_text(content, charset)))
    if not extraction.text.strip():
        raise Unreadable(
            f"The {formats.NAMES[media_type]} file holds no text, only white space or empty values.",
            hint="Check that the upload or export was complete.",
        )
    return extraction


def _read(request: Mapping[str, Any]) -> Extraction:
    content, media_type, charset = Path(request["path"]).read_bytes(), request["media_type"], request["charset"]
    match media_type:
        case _ if media_type in LIGHT:
            extraction = read_light(content, media_type, charset)
        case formats.HTML:
            extraction = read_html(content, charset)
        case formats.EPUB:
            extraction = read_epub(content)
        case formats.EML:
            extraction = read_mail(content, charset)
        case _:
            # The parent imports this module too, and must not pay for kreuzberg.
            from pegasus.adapters.kreuzberg_reader import read_with_kreuzberg

            extraction = read_with_kreuzberg(content, media_type)
    if extraction.text.strip():
        return extraction
    raise _no_text(media_type)


def _no_text(media_type: str) -> Unreadable:
    if media_type == formats.PDF:
        return Unreadable(
            "The PDF has no text layer: its pages are images.",
            hint="Run it through OCR (for example `ocrmypdf in.pdf out.pdf`) and add the result.",
        )
    return Unreadable(
        f"No text was found in the {formats.NAMES[media_type]}: it is empty, damaged, or holds only images.",
        hint="Open it in its own program; if text is there, save it again or export it as PDF.",
    )
