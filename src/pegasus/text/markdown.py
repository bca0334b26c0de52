"""Finds the headings and links of a Markdown text, which is stored as it is written.

It knows the parts of CommonMark that carry structure, and ``[[wiki links]]``; a full parser is not needed to index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pegasus.domain import Extraction, Heading, Link
from pegasus.text.composer import add_link

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)(.*)$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_NOT_A_PARAGRAPH = re.compile(r"[ \t]*$| {4}|\t| {0,3}(?:[>|]|[-*+][ \t]|\d{1,9}[.)][ \t]|<)")
_FRONT_MATTER = re.compile(r"---[ \t]*\n((?:(?!---)[^\n]*\n)*?)(?:---|\.\.\.)[ \t]*(?:\n|$)")
_FRONT_MATTER_FIELD = re.compile(r"(?m)^(\w[\w -]{0,60}):[ \t]+(\S[^\n]*)$")
_CODE_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)([^`\n]{1,2000})\1(?!`)")
_IMAGE = re.compile(r"!\[[^\[\]\n]{0,500}\]\([^()\n]{0,2000}\)")
_DEFINITION = re.compile(r"(?m)^ {0,3}\[([^\[\]^\n][^\[\]\n]{0,500})\]:[ \t]*<?([^\s<>]+)>?[^\n]*$")
# One pass finds every kind. Each repetition is bounded, so that hostile text cannot make the search quadratic.
_LINK = re.compile(
    r"\[\[(?P<wiki>[^\[\]|\n]{1,300})(?:\|(?P<wiki_label>[^\[\]\n]{0,300}))?\]\]"
    r"|(?<!\\)\[(?P<label>[^\[\]]{0,500})\]"
    r"(?:\([ \t]{0,3}(?P<target><[^<>\n]{1,2000}>|[^\s()<>]{1,2000}(?:\([^\s()]{0,500}\)[^\s()<>]{0,500})?)"
    r"(?:\s{1,3}(?:\"[^\"]{0,500}\"|'[^']{0,500}'))?[ \t]{0,3}\)|\[(?P<reference>[^\[\]]{0,500})\])?"
    r"|<(?P<auto>(?:https?|ftp|mailto):[^\s<>]{1,2000}|[\w.+-]{1,64}@[\w.-]{1,255})>"
    r"|(?P<bare>https?://[^\s<>\[\]\"'`]{1,2000})"
)


def read_markdown(text: str) -> Extraction:
    """``text`` itself, with its headings and links; the title is the front matter's, else the first heading."""
    metadata, body_start = _front_matter(text)
    masked = _mask_code(text, body_start)
    headings = list(_headings(masked, text))
    title = metadata.pop("title", None) or (headings[0].title if headings else None)
    return Extraction(text, title, headings, list(_links(masked, text)), metadata)


def _front_matter(text: str) -> tuple[dict[str, str], int]:
    """The simple ``key: value`` lines of YAML front matter, and where the text after it starts."""
    block = _FRONT_MATTER.match(text)
    if block is None:
        return {}, 0
    fields = _FRONT_MATTER_FIELD.findall(block[1])
    return {key.lower(): value.strip().strip("\"'") for key, value in fields}, block.end()


def _mask_code(text: str, start: int) -> str:
    """``text`` with front matter, fenced code and code spans blanked, every offset kept."""
    masked, fence = [_blank(text[:start])], ""
    for line in _LINE.findall(text, start):
        mark = _FENCE.match(line)
        if fence:
            masked.append(_blank(line))
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
            masked.append(_blank(line))
            fence = mark[1]
        else:
            masked.append(line)
    return _CODE_SPAN.sub(lambda span: _blank(span[0], "\x1a"), "".join(masked))


def _blank(text: str, filler: str = " ") -> str:
    return re.sub(r"[^\n]", filler, text)


def _headings(masked: str, text: str) -> Iterator[Heading]:
    start, before, before_start, alone = 0, "", 0, False
    for line in _LINE.findall(masked):
        bare = line.rstrip("\n")
        if atx := _ATX.match(bare):
            yield from _heading(text, start + atx.start(2), _without_closing(atx[2]), len(atx[1]))
            bare = ""
        elif alone and (underline := _SETEXT.match(bare)):
            yield from _heading(text, before_start, before, 1 if underline[1][0] == "=" else 2)
            bare = ""
        # A title that runs over several lines could not stand on a line of its own, so only a lone line is one.
        alone = not before.strip() and not _NOT_A_PARAGRAPH.match(bare)
        before, before_start, start = bare, start, start + len(line)


def _without_closing(title: str) -> str:
    """A title without the marks that may stand behind it; done by hand, as a search for them is quadratic in spaces."""
    bare = title.rstrip(" \t").rstrip("#")
    return bare.rstrip(" \t") if not bare or bare[-1] in " \t" else title


def _heading(text: str, start: int, masked_title: str, level: int) -> Iterator[Heading]:
    start += len(masked_title) - len(masked_title.lstrip())
    title = text[start : start + len(masked_title.strip())]
    if title:
        yield Heading(start, level, title)


def _links(masked: str, text: str) -> list[Link]:
    links: dict[Link, None] = {}
    definitions = {_key(name): target for name, target in _DEFINITION.findall(masked)}
    body = _DEFINITION.sub(lambda found: _blank(found[0]), _IMAGE.sub(lambda found: _blank(found[0]), masked))
    for found in _LINK.finditer(body):
        if found["wiki"] is not None:
            add_link(links, found["wiki"], found["wiki_label"] or found["wiki"], "wiki")
        elif found["label"] is not None:
            label = text[found.start("label") : found.end("label")]
            reference = _key(found["reference"] or found["label"])
            target = found["target"].strip("<>") if found["target"] else definitions.get(reference, "")
            add_link(links, target, "" if label.startswith("![") else label, "hyperlink")
        else:
            address = found["auto"] or found["bare"].rstrip(".,;:!?)*_")
            add_link(links, address if ":" in address else f"mailto:{address}", address, "hyperlink")
    return list(links)


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
