"""Reads the text that a person sees in a page out of HTML, with the standard library's parser.

kreuzberg 4.10 is not used for it: its plain text keeps Markdown marks (so that ``*`` in the page and ``*`` for italics
look the same) and it leaves out what stands in a ``div`` or a definition list.
"""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser

from pegasus.domain import Extraction
from pegasus.errors import Unreadable
from pegasus.text.composer import Composer
from pegasus.text.formats import decode_text

_Attributes = list[tuple[str, str | None]]

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = _HEADINGS.keys() | {
    "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend",
    "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr",
    "ul",
}  # fmt: skip
_UNSEEN = {
    "script", "style", "template", "noscript", "nav", "svg", "iframe", "object", "select", "button",
    "textarea", "datalist", "audio", "video", "canvas",
}  # fmt: skip
_VOID = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
}  # fmt: skip
# These may be left unclosed, so hiding until their end tag could hide the rest of the page.
_END_TAG_OPTIONAL = {"li", "dt", "dd", "td", "th", "tr", "html", "body"}
_ARTICLES = {"article", "main", "section"}
_TIGHT = {"li", "dt", "dd", "tr"}
_ROW_ENDS = {"tr", "thead", "tbody", "tfoot", "table"}
_LISTS = {"ol", "ul", "dl", "table"}
_META = {
    "author": "author",
    "description": "description",
    "keywords": "keywords",
    "date": "created",
    "article:published_time": "created",
}
_SPACE = re.compile(r"[ \t\n\r\f]+")  # HTML's white space; a non-breaking space is a character
_DECLARED_CHARSET = re.compile(
    rb"(?i)<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([\w:.-]+)|<\?xml[^>]{1,100}?encoding\s*=\s*[\"']([\w:.-]+)"
)
_LATIN_1_LABELS = frozenset({"iso8859-1", "ascii"})


def read_html(content: bytes, charset: str | None) -> Extraction:
    """The visible text of a page; navigation, scripts, forms' controls and the page's footer are not in it."""
    composer = Composer()
    title, metadata = compose_html(composer, decode_html(content, charset))
    return composer.extraction(title, metadata)


def compose_html(composer: Composer, page: str) -> tuple[str, dict[str, str]]:
    """Adds the page's text to ``composer``; its title and what its ``meta`` tags say."""
    reader = _PageReader(composer)
    reader.feed(page)
    reader.close()
    reader.flush()
    return reader.title, reader.metadata


def decode_html(content: bytes, charset: str | None) -> str:
    """Decoded by the byte order mark, else ``charset`` (HTTP's), else the page's own declaration, else as UTF-8."""
    declared = _DECLARED_CHARSET.search(content[:4096])
    if charset is None and declared is not None:
        charset = _browser_charset((declared[1] or declared[2]).decode("ascii"))
    return decode_text(content, charset)


def _browser_charset(name: str) -> str:
    """What browsers mean by a charset: Latin-1 is windows-1252, and a page that could be searched is not UTF-16."""
    try:
        canonical = codecs.lookup(name).name
    except LookupError as error:
        raise Unreadable(
            f"The page says that its charset is {name!r}, which is not a known one.",
            hint="Add it with a declared charset, or convert it to UTF-8.",
        ) from error
    if canonical.startswith(("utf-16", "utf-32")):
        return "utf-8"
    return "cp1252" if canonical in _LATIN_1_LABELS else canonical


class _PageReader(HTMLParser):
    """Gathers inline text until a block begins or ends, then hands it to the composer."""

    def __init__(self, composer: Composer) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.metadata: dict[str, str] = {}
        self._composer = composer
        self._text: list[str] = []
        self._unseen: list[str] = []
        self._heading_level = 0
        self._tight = False
        self._in_title = False
        self._preformatted = 0
        self._article_depth = 0
        self._numbers: list[int | None] = []  # the next number of each open list; None for bullets
        self._item_number = ""
        self._cells: list[str] | None = None  # of the row at hand, as long as it holds nothing but lines
        self._link: tuple[str, int] | None = None  # its target, and where in the text its label starts

    def handle_starttag(self, tag: str, attrs: _Attributes) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if self._unseen == ["p"] and tag in _BLOCKS:
            self._unseen.pop()  # a block ends an open paragraph
        if self._unseen or self._is_unseen(tag, attributes):
            if tag not in _VOID and (not self._unseen or tag == self._unseen[0]):
                self._unseen.append(tag)
            return
        if tag in _BLOCKS:
            self._start_block(tag, attributes)
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "br":
            self._text.append("\n")
        elif tag == "a":
            self._end_link()
            self._link = (attributes["href"], len(self._text)) if "href" in attributes else None
        elif tag == "title":
            self._in_title = not self.title
        elif tag == "meta":
            self._note(attributes)

    def handle_startendtag(self, tag: str, attrs: _Attributes) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag == self._unseen[-1]:
                self._unseen.pop()
        elif tag in _BLOCKS:
            self._end_block(tag)
        elif tag in ("td", "th"):
            self._end_cell()
        elif tag == "a":
            self._end_link()
        elif tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._unseen:
            self._text.append(data if self._preformatted else _SPACE.sub(" ", data))

    def flush(self) -> None:
        """Ends the block at hand, a heading or a paragraph."""
        self._end_link()
        text = self._visible()
        self._text.clear()
        if self._heading_level:
            self._composer.heading(text, self._heading_level)
        elif text:
            self._composer.block(self._item_number + text, tight=self._tight)
            self._item_number = ""

    def _visible(self) -> str:
        text = "".join(self._text)
        if self._preformatted:
            return text.strip("\n").rstrip()
        return "\n".join(_SPACE.sub(" ", line).strip(" ") for line in text.split("\n")).strip("\n")

    def _is_unseen(self, tag: str, attributes: dict[str, str]) -> bool:
        if tag in _UNSEEN or (tag == "footer" and not self._article_depth):
            return True
        hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
        styled_away = "display:none" in attributes.get("style", "").replace(" ", "").lower()
        navigation = attributes.get("role") == "navigation"
        return (hidden or styled_away or navigation) and tag not in _END_TAG_OPTIONAL

    def _start_block(self, tag: str, attributes: dict[str, str]) -> None:
        if self._cells is not None:
            self._end_row()  # a table with blocks in its cells is there for the layout
        in_heading = self._heading_level if not self._visible() else 0
        self.flush()
        self._heading_level = _HEADINGS.get(tag, in_heading)
        self._tight = tag in _TIGHT
        self._article_depth += tag in _ARTICLES
        self._preformatted += tag == "pre"
        self._set_apart(tag)
        if tag in ("ol", "ul"):
            start = attributes.get("start", "1")
            self._numbers.append((int(start) if start.isdecimal() else 1) if tag == "ol" else None)
        elif tag == "li":
            self._number_item()
        elif tag == "tr":
            self._cells = []

    def _end_block(self, tag: str) -> None:
        if tag in _ROW_ENDS and self._cells is not None:
            self._end_row()
        self.flush()
        self._heading_level, self._tight = 0, False
        self._article_depth = max(0, self._article_depth - (tag in _ARTICLES))
        self._preformatted = max(0, self._preformatted - (tag == "pre"))
        if tag in ("ol", "ul") and self._numbers:
            self._numbers.pop()
        self._set_apart(tag)

    def _set_apart(self, tag: str) -> None:
        """An outermost list or a table stands between blank lines."""
        if tag in _LISTS and not self._numbers:
            self._composer.gap()

    def _number_item(self) -> None:
        if self._numbers and (number := self._numbers[-1]) is not None:
            self._item_number = f"{number}. "
            self._numbers[-1] = number + 1

    def _end_cell(self) -> None:
        if self._cells is None:
            self.flush()
        else:
            self._end_link()
            self._cells.append(" ".join(self._visible().split()))
            self._text.clear()

    def _end_row(self) -> None:
        self._end_cell()
        self._composer.block("\t".join(cell for cell in self._cells or () if cell), tight=True)
        self._cells = None

    def _end_link(self) -> None:
        if self._link is not None:
            target, start = self._link
            self._composer.link(target, "".join(self._text[start:]))
            self._link = None

    def _note(self, attributes: dict[str, str]) -> None:
        key = _META.get((attributes.get("name") or attributes.get("property") or "").lower())
        if key:
            self.metadata.setdefault(key, attributes.get("content", "").strip())
