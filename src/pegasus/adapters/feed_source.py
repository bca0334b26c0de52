"""The entries of an RSS or Atom feed."""

from __future__ import annotations

import hashlib
import io
from contextlib import closing

from pegasus.errors import NotFound
from pegasus.ports import Fetcher, FoundItem, ItemContent, Listing
from pegasus.text.feed import FeedEntry, ReadFeed

_MAX_FEED_BYTES = 5 * 2**20


class FeedReader:
    """The entries of an RSS or Atom feed, each as the page that the feed carries.

    ``read_feed`` takes it apart, as ``pegasus.text.feed`` does, wherever that is safe.
    """

    def __init__(self, fetcher: Fetcher, url: str, read_feed: ReadFeed) -> None:
        self._fetcher, self._url, self._read_feed = fetcher, url, read_feed
        self._entries: dict[str, FeedEntry] | None = None

    def listing(self, token: str | None) -> Listing | None:
        fetched = self._fetcher.get(self._url, token=token, max_bytes=_MAX_FEED_BYTES)
        if fetched is None:
            return None
        with closing(fetched.content) as stream:
            entries = self._read_feed(stream.read(), fetched.url, fetched.content_type)
        self._entries = {entry.key: entry for entry in entries}
        # A feed has its newest entries; what it drops is old, not gone.
        return Listing(map(self._found, entries), token=fetched.token, names_all=False)

    def open(self, key: str, token: str | None) -> ItemContent:  # noqa: ARG002
        if self._entries is None:
            self.listing(None)
        entry = (self._entries or {}).get(key)
        if entry is None:
            raise NotFound(f"The feed has dropped {key!r}.")
        facts = {"link": entry.link, "author": entry.author, "published": entry.published, "feed": self._url}
        return ItemContent(
            io.BytesIO(entry.page.encode()), "entry.html", "text/html; charset=utf-8",
            metadata={name: value for name, value in facts.items() if value},
        )  # fmt: skip

    def close(self) -> None: ...

    def _found(self, entry: FeedEntry) -> FoundItem:
        # Not the link itself: the page there is another document than what the feed says of it.
        return FoundItem(
            entry.key,
            f"feed:{entry.link or f'{self._url}#{entry.key}'}",
            hashlib.blake2s(entry.page.encode()).hexdigest(),
        )
