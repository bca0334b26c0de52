"""Reads EPUB books chapter by chapter, in the order of their spine.

kreuzberg 4.10 is not used for it: it leaves out definition lists, and takes a chapter's hidden title for its text.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from pegasus.domain import Extraction
from pegasus.errors import Unreadable
from pegasus.text.composer import Composer
from pegasus.text.html import compose_html, decode_html

_CONTAINER = "META-INF/container.xml"
_OPF = "{http://www.idpf.org/2007/opf}"
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_FACTS = {"creator": "author", "language": "language", "publisher": "publisher", "date": "created"}


def read_epub(content: bytes) -> Extraction:
    """The book's chapters one after the other; the table of contents is not text."""
    composer = Composer()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            package_path = _package_path(book)
            package = fromstring(book.read(package_path))
            for chapter in _chapters(package, posixpath.dirname(package_path)):
                compose_html(composer, decode_html(book.read(chapter), None))
    except (
        zipfile.BadZipFile,
        zlib.error,
        ParseError,
        DefusedXmlException,
        KeyError,
        EOFError,
        NotImplementedError,  # zipfile's word for a compression that it does not know.
        RuntimeError,
    ) as error:
        raise Unreadable(
            f"The EPUB is damaged: {error}.", hint="Download it again; a book with copy protection cannot be read."
        ) from error
    facts = {key: package.findtext(f".//{_DUBLIN_CORE}{name}") for name, key in _FACTS.items()}
    return composer.extraction(package.findtext(f".//{_DUBLIN_CORE}title"), facts)


def _package_path(book: zipfile.ZipFile) -> str:
    container = fromstring(book.read(_CONTAINER))
    root = container.find(".//{*}rootfile")
    if root is None:
        raise KeyError(f"{_CONTAINER} names no package")
    return str(root.get("full-path", ""))


def _chapters(package: Element, folder: str) -> Iterator[str]:
    items = {item.get("id"): item for item in package.iter(f"{_OPF}item")}
    for reference in package.iter(f"{_OPF}itemref"):
        item = items.get(reference.get("idref"))
        if item is not None and "nav" not in item.get("properties", "").split():
            yield posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
