"""The entries of an RSS or Atom feed."""

from __future__ import annotations

import hashlib
import html
import io
from contextlib import closing
from typing import Any

from pegasus.errors import NotFound, Unreadable
from pegasus.ports import Fetched, Fetcher, FoundItem, ItemContent, Listing

_MAX_FEED_BYTES = 5 * 2**20
_MAX_ENTRIES = 5_000


class FeedReader:
    """The entries of an RSS or Atom feed, each as the page that the feed carries."""

    def __init__(self, fetcher: Fetcher, url: str) -> None:
        self._fetcher, self._url = fetcher, url
        self._entries: dict[str, Any] | None = None

    def listing(self, token: str | None) -> Listing | None:
        fetched = self._fetcher.get(self._url, token=token, max_bytes=_MAX_FEED_BYTES)
        if fetched is None:
            return None
        self._entries = _entries(fetched)
        # A feed has its newest entries; what it drops is old, not gone.
        return Listing(map(self._found, self._entries), token=fetched.token, names_all=False)

    def open(self, key: str, token: str | None) -> ItemContent:  # noqa: ARG002
        if self._entries is None:
            self.listing(None)
        entry = (self._entries or {}).get(key)
        if entry is None:
            raise NotFound(f"The feed has dropped {key!r}.")
        facts = {
            "link": entry.get("link"),
            "author": entry.get("author"),
            "published": entry.get("published") or entry.get("updated"),
            "feed": self._url,
        }
        return ItemContent(
            io.BytesIO(_page(entry).encode()), "entry.html", "text/html; charset=utf-8",
            metadata={name: value for name, value in facts.items() if value},
        )  # fmt: skip

    def close(self) -> None: ...

    def _found(self, key: str) -> FoundItem:
        entry = (self._entries or {})[key]
        link = entry.get("link") or ""
        # Not the link itself: the page there is another document than what the feed says of it.
        return FoundItem(
            key, f"feed:{link or f'{self._url}#{key}'}", hashlib.blake2s(_page(entry).encode()).hexdigest()
        )


def _entries(fetched: Fetched) -> dict[str, Any]:
    import feedparser

    with closing(fetched.content) as stream:
        content = stream.read()
    # Entities of a feed's own making are how XML is made to explode; no feed needs one.
    if "<!entity" in content.replace(b"\0", b"").decode("latin-1").lower():
        raise Unreadable(f"{fetched.url} declares XML entities, which are not taken from strangers.")
    headers = {"content-location": fetched.url, "content-type": fetched.content_type or "application/xml"}
    parsed = feedparser.parse(io.BytesIO(content), response_headers=headers)
    if not parsed.get("version"):
        raise Unreadable(f"{fetched.url} is no RSS or Atom feed.", hint="Look for the feed's own address on the site.")
    entries: dict[str, Any] = {}
    for entry in parsed.entries[:_MAX_ENTRIES]:
        key = entry.get("id") or entry.get("link") or hashlib.blake2s(_page(entry).encode()).hexdigest()
        entries.setdefault(str(key), entry)
    return entries


def _page(entry: Any) -> str:
    title, link = _markup(entry.get("title_detail", {})), html.escape(entry.get("link") or "")
    body = "".join(map(_markup, entry.get("content") or [entry.get("summary_detail", {})]))
    anchor = f'<p><a href="{link}">{link}</a></p>' if link else ""
    return f"<html><body><h1>{title}</h1>{body}{anchor}</body></html>"


def _markup(part: Any) -> str:
    """A part of an entry as HTML, which feedparser has freed of scripts."""
    value = str(part.get("value", ""))
    return value if "html" in part.get("type", "") else f"<p>{html.escape(value)}</p>"
