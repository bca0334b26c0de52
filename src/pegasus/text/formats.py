"""What a file is, told from its content: a name or a declared type is only believed where the content allows it."""

from __future__ import annotations

import codecs
import io
import json
import re
import zipfile
import zlib
from pathlib import PurePosixPath

from pegasus.errors import Unreadable, UnsupportedFormat

_OFFICE = "application/vnd.openxmlformats-officedocument"

PDF = "application/pdf"
DOCX = f"{_OFFICE}.wordprocessingml.document"
PPTX = f"{_OFFICE}.presentationml.presentation"
XLSX = f"{_OFFICE}.spreadsheetml.sheet"
HTML = "text/html"
MARKDOWN = "text/markdown"
TEXT = "text/plain"
CSV = "text/csv"
JSON = "application/json"
EML = "message/rfc822"
EPUB = "application/epub+zip"
ZIP = "application/zip"

NAMES = {
    PDF: "PDF",
    DOCX: "Word document (docx)",
    PPTX: "PowerPoint presentation (pptx)",
    XLSX: "Excel workbook (xlsx)",
    HTML: "HTML",
    MARKDOWN: "Markdown",
    TEXT: "plain text",
    CSV: "CSV",
    JSON: "JSON",
    EML: "mail (eml)",
    EPUB: "EPUB",
    ZIP: "ZIP archive",
}

_TEXT_EXTENSIONS = {
    ".txt": TEXT,
    ".text": TEXT,
    ".log": TEXT,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".csv": CSV,
    ".tsv": CSV,
    ".json": JSON,
    ".eml": EML,
}
_TEXT_TYPES = {
    **{kind: kind for kind in _TEXT_EXTENSIONS.values()},
    "application/xhtml+xml": HTML,
    "text/x-markdown": MARKDOWN,
    "text/tab-separated-values": CSV,
}
# A name with one of these promises a content that starts with a signature; text or noise under it is a mistake.
_BINARY_EXTENSIONS = {
    ".pdf": NAMES[PDF],
    ".docx": NAMES[DOCX],
    ".pptx": NAMES[PPTX],
    ".xlsx": NAMES[XLSX],
    ".epub": NAMES[EPUB],
    ".zip": NAMES[ZIP],
    ".doc": "Word 97-2003 document",
    ".xls": "Excel 97-2003 workbook",
    ".ppt": "PowerPoint 97-2003 presentation",
    ".png": "PNG image",
    ".jpg": "JPEG image",
    ".jpeg": "JPEG image",
    ".gif": "GIF image",
    ".exe": "Windows program",
}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"II*\x00", "TIFF image"),
    (b"MM\x00*", "TIFF image"),
    (b"BM", "BMP image"),
    (b"\x7fELF", "Linux program"),
    (b"MZ", "Windows program"),
    (b"\xca\xfe\xba\xbe", "macOS program or Java class"),
    (b"\xcf\xfa\xed\xfe", "macOS program"),
    (b"\x1f\x8b", "gzip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\x00", "xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (b"Rar!\x1a\x07", "RAR archive"),
    (b"SQLite format 3\x00", "SQLite database"),
    (b"ID3", "MP3 recording"),
    (b"OggS", "Ogg recording"),
    (b"RIFF", "RIFF file (WebP image, WAV or AVI recording)"),
    (b"\x00\x00\x01\x00", "icon image"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_STREAMS = (
    ("WordDocument", "Word 97-2003 document (doc)", "Save it as docx and add that."),
    ("Workbook", "Excel 97-2003 workbook (xls)", "Save it as xlsx and add that."),
    ("Book", "Excel 95 workbook (xls)", "Save it as xlsx and add that."),
    ("PowerPoint Document", "PowerPoint 97-2003 presentation (ppt)", "Save it as pptx and add that."),
    ("__substg1.0_", "Outlook message (msg)", "Save it as eml and add that."),
)
_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES = 8192
_MAX_SNIFFED_BYTES = 2**20
_MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")  # not tab, newline, form feed, return, escape
_MAIL_HEADER = re.compile(rb"(?i)(?:from|to|received|return-path|delivered-to|mime-version|date|subject|message-id):")
_MARKDOWN_LINE = re.compile(rb"(?m)^(?:#{1,6} \S|```|~~~|\[\[)|\]\([^)\s]{1,300}\)|\[\[[^\]\n]{1,300}\]\]")
_CHARSET = re.compile(r"(?i);\s*charset\s*=\s*\"?([\w.:+-]+)")
_SURROGATE = re.compile("[\ud800-\udfff]")


def detect_media_type(content: bytes, filename: str | None, declared: str | None) -> str:
    """One of the media types above; ``declared`` is the sender's Content-Type, with its parameters.

    Raises ``UnsupportedFormat`` when Pegasus does not read such files or the name promises another content, and
    ``Unreadable`` when the file is empty, broken beyond telling, or an Office file locked with a password.
    """
    if not content:
        raise Unreadable("The file is empty: it has 0 bytes.", hint="Check that the upload or export was complete.")
    head = content[:_HEAD_BYTES]
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_media_type(content)
    if content.startswith(_OLE):
        raise _ole_refusal(content)
    binary = _is_binary(head, declared)
    if head.lstrip().startswith(b"%PDF-") or (binary and b"%PDF-" in head[:1024]):
        return PDF
    if binary or head.startswith(b"{\\rtf"):
        raise _binary_refusal(head, filename)
    _refuse_text_with_a_binary_name(filename)
    return _text_media_type(content, filename, declared)


def decode_text(content: bytes, charset: str | None) -> str:
    """The text in ``content`` with newlines as ``\\n``: by its byte order mark, else ``charset``, else strict UTF-8."""
    encoding = next((encoding for bom, encoding in _BOMS if content.startswith(bom)), charset or "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(content, error) from error
    except (LookupError, UnicodeError) as error:
        raise Unreadable(
            f"The charset {encoding!r} is not one that Pegasus knows.",
            hint="Declare a charset such as utf-8 or cp1252.",
        ) from error
    if (lone := _SURROGATE.search(text)) is not None:
        raise Unreadable(
            f"Read as {encoding}, character {lone.start()} is half of a surrogate pair, which no text may hold.",
            hint="Declare the charset the text is really in, or convert it to UTF-8.",
        )
    if (offset := text.find("\0")) >= 0:
        raise Unreadable(
            f"The content is binary rather than text: there is a NUL character at offset {offset}.",
            hint="If it is UTF-16 without a byte order mark, declare charset=utf-16-le or utf-16-be.",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _undecodable(content: bytes, error: UnicodeDecodeError) -> Unreadable:
    byte = f"byte 0x{content[error.start]:02X}" if error.start < len(content) else "the end"
    return Unreadable(
        f"The text is not valid {error.encoding.upper()}: {byte} at offset {error.start} ({error.reason}).",
        hint="Declare the charset it is in (for example charset=windows-1252), or convert the file to UTF-8.",
    )


def _zip_media_type(content: bytes) -> str:
    if zip_directory_bytes(content) > _MAX_DIRECTORY_BYTES:
        raise Unreadable("The ZIP lists far too many files.", hint="Split it into several archives.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            packed_type = _start_of(archive, "mimetype") if "mimetype" in names else ""
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        raise Unreadable(
            f"The file starts like a ZIP, docx, pptx, xlsx or EPUB, but cannot be opened: {error}.",
            hint="It is probably cut short or damaged: download or export it again.",
        ) from error
    if packed_type.startswith(EPUB):
        return EPUB
    if packed_type.startswith("application/vnd.oasis.opendocument"):
        raise _unsupported("an OpenDocument file", hint="Save it as docx, xlsx, pptx or PDF and add that.")
    if "xl/workbook.bin" in names:
        raise _unsupported("a binary Excel workbook (xlsb)", hint="Save it as xlsx and add that.")
    mains = {"word/document.xml": DOCX, "ppt/presentation.xml": PPTX, "xl/workbook.xml": XLSX}
    return next((kind for member, kind in mains.items() if member in names), ZIP)


def zip_directory_bytes(tail: bytes) -> int:
    """The size of a ZIP's directory by its end record, 0 without one; ``tail`` is the file or its last 64 KiB.

    zipfile makes an object of every entry: a directory of 100 MB would take 1 GB of memory.
    """
    record = tail.rfind(b"PK\x05\x06")
    return int.from_bytes(tail[record + 12 : record + 16], "little") if record >= 0 else 0


def _start_of(archive: zipfile.ZipFile, member: str) -> str:
    with archive.open(member) as source:
        return source.read(100).decode("ascii", "replace")


def _ole_refusal(content: bytes) -> Unreadable | UnsupportedFormat:
    """Why an OLE container is not read; its directory holds the names of its streams in UTF-16."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        return Unreadable(
            "The Office file is protected with a password.", hint="Remove the password in Office and add it again."
        )
    for stream, name, hint in _OLE_STREAMS:
        if stream.encode("utf-16-le") in content:
            return _unsupported(f"a {name}", hint=hint)
    return _unsupported("an OLE container of an unknown kind", hint="Save it in a supported format and add that.")


def _is_binary(head: bytes, declared: str | None) -> bool:
    wide = (_declared_charset(declared) or "").startswith(("utf-16", "utf-32"))
    if wide or any(head.startswith(bom) for bom, _ in _BOMS):
        return False
    # Stray control characters occur in old texts; a NUL does not, nor one control character in every fifty.
    return b"\0" in head or 50 * len(_CONTROL.findall(head)) > len(head)


def _declared_charset(declared: str | None) -> str | None:
    found = _CHARSET.search(declared or "")
    return found[1].lower() if found else None


def _binary_refusal(head: bytes, filename: str | None) -> UnsupportedFormat:
    if head.startswith(b"{\\rtf"):
        return _unsupported("an RTF document", hint="Save it as docx and add that.")
    found = next((f"a {name}" for signature, name in _SIGNATURES if head.startswith(signature)), None)
    if head[4:8] == b"ftyp":
        found = "a media file (MP4, HEIC)"
    found = found or f"unknown binary data (it begins with {head[:8].hex(' ').upper()})"
    promised = _BINARY_EXTENSIONS.get(_suffix(filename)) or NAMES.get(_TEXT_EXTENSIONS.get(_suffix(filename), ""))
    if promised is None or promised in found:
        return _unsupported(found)
    return UnsupportedFormat(
        f"{filename!r} is named like a {promised}, but its content is {found}.",
        hint=f"Check that it is the right file, undamaged. {_supported()}",
    )


def _refuse_text_with_a_binary_name(filename: str | None) -> None:
    promised = _BINARY_EXTENSIONS.get(_suffix(filename))
    if promised is not None:
        raise UnsupportedFormat(
            f"{filename!r} is named like a {promised}, but its content is plain text.",
            hint="If text is what it should be, rename it to .txt or .md; else export it again.",
        )


def _text_media_type(content: bytes, filename: str | None, declared: str | None) -> str:
    by_name = _TEXT_EXTENSIONS.get(_suffix(filename))
    if by_name is not None:
        return by_name
    by_declaration = _TEXT_TYPES.get((declared or "").partition(";")[0].strip().lower())
    if by_declaration not in (None, TEXT):  # text/plain is what senders say when they do not know
        return str(by_declaration)
    return _sniff_text(content, has_extension=bool(_suffix(filename)))


def _sniff_text(content: bytes, *, has_extension: bool) -> str:
    head = content[:_HEAD_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    if head[:200].lower().startswith((b"<!doctype html", b"<html")):
        return HTML
    if len(_MAIL_HEADER.findall(head.replace(b"\r\n", b"\n").partition(b"\n\n")[0])) >= 3 and _MAIL_HEADER.match(head):
        return EML
    if head[:1] in (b"{", b"[") and _is_json(content):
        return JSON
    # Source code has lines that look like headings, so only a file without an extension is looked at for Markdown.
    return MARKDOWN if not has_extension and _MARKDOWN_LINE.search(head) else TEXT


def _is_json(content: bytes) -> bool:
    if len(content) > _MAX_SNIFFED_BYTES:
        # Parsing takes a hundred times the size in memory, and this runs in the server; its reader finds out.
        return content.rstrip()[-1:] in (b"}", b"]")
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _suffix(filename: str | None) -> str:
    return PurePosixPath((filename or "").replace("\\", "/")).suffix.lower()


def _supported() -> str:
    return f"Pegasus reads {', '.join(NAMES.values())}."


def _unsupported(found: str, *, hint: str | None = None) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"The file is {found}, which Pegasus does not read.", hint=" ".join(filter(None, [hint, _supported()]))
    )
