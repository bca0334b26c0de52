"""Reads the entries of an RSS or Atom feed."""

from __future__ import annotations

import hashlib
import html
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pegasus.errors import Unreadable

_MAX_ENTRIES = 5_000


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An entry as a page of HTML, and what names it among those of its feed."""

    key: str
    page: str
    link: str | None
    author: str | None
    published: str | None


# Content, URL and content type of what may be a feed.
ReadFeed = Callable[[bytes, str, str | None], list[FeedEntry]]


def read_feed(content: bytes, url: str, content_type: str | None) -> list[FeedEntry]:
    """The entries in the feed's own order, the first of those with the same key.

    Raises ``Unreadable`` where ``content`` is no feed, or one that is made to do harm.
    """
    import feedparser

    # Entities of a feed's own making are how XML is made to explode; no feed needs one.
    if "<!entity" in content.replace(b"\0", b"").decode("latin-1").lower():
        raise Unreadable(f"{url} declares XML entities, which are not taken from strangers.")
    headers = {"content-location": url, "content-type": content_type or "application/xml"}
    parsed = feedparser.parse(io.BytesIO(content), response_headers=headers)
    if not parsed.get("version"):
        raise Unreadable(f"{url} is no RSS or Atom feed.", hint="Look for the feed's own address on the site.")
    entries: dict[str, FeedEntry] = {}
    for raw in parsed.entries[:_MAX_ENTRIES]:
        page = _page(raw)
        key = str(raw.get("id") or raw.get("link") or hashlib.blake2s(page.encode()).hexdigest())
        published = raw.get("published") or raw.get("updated")
        entries.setdefault(key, FeedEntry(key, page, raw.get("link"), raw.get("author"), published))
    return list(entries.values())


def _page(entry: Any) -> str:
    title, link = _markup(entry.get("title_detail", {})), html.escape(entry.get("link") or "")
    body = "".join(map(_markup, entry.get("content") or [entry.get("summary_detail", {})]))
    anchor = f'<p><a href="{link}">{link}</a></p>' if link else ""
    return f"<html><body><h1>{title}</h1>{body}{anchor}</body></html>"


def _markup(part: Any) -> str:
    """A part of an entry as HTML, which feedparser has freed of scripts."""
    value = str(part.get("value", ""))
    return value if "html" in part.get("type", "") else f"<p>{html.escape(value)}</p>"
