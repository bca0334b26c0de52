"""What a link points to: keys that are the same on both ends, for URLs, paths and ``[[wiki links]]``."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from pegasus.domain import Link

_MAX_LINKS = 2_000
# Between an archive and the path of a member in it.
_IN_ARCHIVE = "!/"
_SCHEMES = ("http", "https", "file", "")


def link_key(link: Link, base_uri: str | None) -> str | None:
    """The key of a link's target; None for what cannot be a document (``mailto:``, an anchor, a broken URL)."""
    if link.kind == "wiki":
        return _name_key(link.target.split("#")[0].split("|")[0])
    archive, separator, base = (base_uri or "").rpartition(_IN_ARCHIVE)
    try:
        target = urldefrag(urljoin(base, link.target)).url
        scheme = urlsplit(target).scheme
        if separator and not scheme:  # A relative path stays in its archive.
            target = f"{archive}{separator}{posixpath.normpath(target)}"
    except ValueError:
        return None
    return _uri_key(target) if target and scheme in _SCHEMES else None


def document_keys(title: str, filename: str | None, uris: Sequence[str]) -> list[str]:
    """Every key by which a link may mean this document."""
    names = [title, *(name for name in (filename, *map(_last_part, uris)) if name)]
    stems = [PurePosixPath(name).stem for name in names[1:]]
    keys = [*(_uri_key(uri) for uri in uris), *(_name_key(name) for name in (*names, *stems))]
    return [key for key in dict.fromkeys(keys) if key]


def outgoing(links: Iterable[Link], base_uri: str | None) -> list[tuple[Link, str]]:
    """Links with their targets' keys, each target once."""
    found: dict[str, Link] = {}
    for link in links:
        key = link_key(link, base_uri)
        if key:
            found.setdefault(key, link)
        if len(found) >= _MAX_LINKS:
            break
    return [(link, key) for key, link in found.items()]


def _last_part(uri: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(uri).path)).name
    except ValueError:
        return ""


def _uri_key(uri: str) -> str:
    return f"uri:{unquote(urldefrag(uri).url)}"


def _name_key(name: str) -> str | None:
    folded = " ".join(name.split()).casefold()
    return f"name:{folded}" if folded else None
