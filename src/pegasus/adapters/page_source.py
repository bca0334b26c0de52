"""One page or file on the web."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from pegasus.ports import Fetched, Fetcher, FoundItem, ItemContent, Listing


class PageReader:
    """One URL. Only asking for it tells whether it has changed."""

    def __init__(self, fetcher: Fetcher, url: str, max_bytes: int) -> None:
        self._fetcher, self._url, self._max_bytes = fetcher, url, max_bytes

    def listing(self, token: str | None) -> Listing:  # noqa: ARG002
        return Listing(iter([FoundItem(self._url, self._url)]))

    def open(self, key: str, token: str | None) -> ItemContent | None:
        fetched = self._fetcher.get(key, token=token, max_bytes=self._max_bytes)
        return _content(fetched) if fetched else None

    def close(self) -> None: ...


def _content(fetched: Fetched) -> ItemContent:
    name = unquote(urlsplit(fetched.url).path).rsplit("/", 1)[-1] or "page.html"
    return ItemContent(fetched.content, name, fetched.content_type, fetched.token)
