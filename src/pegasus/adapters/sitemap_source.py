"""The pages of a site, as its sitemap names them."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import IO
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element, ParseError

from pegasus.errors import Invalid, NotFound, PegasusError, TooLarge, Unreadable
from pegasus.ports import Fetcher, FoundItem, ItemContent, Listing, SourceReader
from pegasus.text.robots import Robots

_AGENT = "Pegasus"
# sitemaps.org: 50 MB and 50,000 URLs a file; robots.txt: RFC 9309 asks for at least 500 KiB.
_MAX_SITEMAP_BYTES, _MAX_ROBOTS_BYTES = 50 * 2**20, 2**20
_MAX_SITEMAPS = 1_000


class SitemapReader:
    """The pages of one host. What robots.txt forbids is told and not fetched, and so are pages of other hosts."""

    def __init__(self, fetcher: Fetcher, pages: SourceReader, url: str, max_pages: int) -> None:
        """``pages`` opens a page by its URL."""
        self._fetcher, self._pages, self._url, self._max_pages = fetcher, pages, url, max_pages
        self._rules: Robots | None = None

    def listing(self, token: str | None) -> Listing:  # noqa: ARG002
        gaps: list[PegasusError] = []
        return Listing(self._items(gaps), gaps)

    def open(self, key: str, token: str | None) -> ItemContent | None:
        if error := self._refusal(key):
            raise error
        # A token of the listing's is a date, which says nothing to the server.
        return self._pages.open(key, token if token and token.startswith("{") else None)

    def close(self) -> None: ...

    def _items(self, gaps: list[PegasusError]) -> Iterator[FoundItem]:
        seen: set[str] = set()
        for url, changed in self._named(self._url, gaps):
            if url in seen:
                continue
            if len(seen) == self._max_pages:
                gaps.append(TooLarge(f"The sitemap names more than {self._max_pages:,} pages; the rest is left out.",
                                     hint="Raise max_pages of the source."))  # fmt: skip
                return
            seen.add(url)
            yield FoundItem(url, url, changed or None, self._refusal(url))

    def _named(self, first: str, gaps: list[PegasusError]) -> Iterator[tuple[str, str]]:
        """(URL, when it was changed or "") of the pages of a sitemap, or of those that an index names."""
        waiting, known = [first], {first}
        while waiting:
            url = waiting.pop()
            try:
                root = self._document(url)
            except PegasusError as error:
                if url == first:
                    raise
                gaps.append(error)
                continue
            is_index = _local_name(root) == "sitemapindex"
            for child in root:
                found = _joined(url, _text(child, "loc"))
                if not found:
                    continue
                if not is_index:
                    yield found.partition("#")[0], _text(child, "lastmod")
                elif found not in known and len(known) < _MAX_SITEMAPS:
                    known.add(found)
                    waiting.append(found)

    def _document(self, url: str) -> Element:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import fromstring

        if error := self._refusal(url, robots=False):
            raise error
        fetched = self._fetcher.get(url, max_bytes=_MAX_SITEMAP_BYTES)
        if fetched is None:
            raise Unreadable(f"{url} answered that it has not changed, which was not asked.")
        with closing(fetched.content) as stream:
            content = _unpacked(url, stream)
        try:
            root: Element = fromstring(content, forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError) as error:
            raise Unreadable(f"{url} is no sitemap: {error}.", hint="Give the URL of a sitemap.xml.") from error
        if _local_name(root) not in ("urlset", "sitemapindex"):
            raise Unreadable(f"{url} is XML, but no sitemap: it is a <{_local_name(root)}>.")
        return root

    def _refusal(self, url: str, *, robots: bool = True) -> PegasusError | None:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            return Invalid(f"{url[:200]!r} is no URL.")
        if _site(host) != _site(urlsplit(self._url).hostname):
            return Invalid(f"{url} is on another host than the sitemap.", hint="Make a source of that site's sitemap.")
        if robots and not self._robots().allows(url):
            return Invalid(f"{url} is closed to robots by the site's robots.txt.")
        return None

    def _robots(self) -> Robots:
        """The site's rules; a site without has none, and one that fails to tell is not crawled (RFC 9309, 2.3.1)."""
        if self._rules is None:
            text = ""
            try:
                fetched = self._fetcher.get(urljoin(self._url, "/robots.txt"), max_bytes=_MAX_ROBOTS_BYTES)
            except (NotFound, Invalid):
                fetched = None
            if fetched:
                with closing(fetched.content) as stream:
                    text = stream.read().decode("utf-8", "replace")
            self._rules = Robots(text, _AGENT)
        return self._rules


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location) if location else ""
    except ValueError:  # The item tells it.
        return location


def _site(host: str | None) -> str:
    return (host or "").lower().removeprefix("www.")


def _local_name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(element: Element, name: str) -> str:
    found = next((child for child in element if _local_name(child) == name), None)
    return (found.text or "").strip() if found is not None else ""


def _unpacked(url: str, stream: IO[bytes]) -> bytes:
    """A sitemap may be a .gz file, which is not the encoding of its transport."""
    content = stream.read()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_MAX_SITEMAP_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"{url} is a damaged gzip file: {error}.") from error
    if len(content) > _MAX_SITEMAP_BYTES:
        raise TooLarge(f"{url} unpacks to more than {_MAX_SITEMAP_BYTES:,} bytes.")
    return content
