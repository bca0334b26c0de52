"""Small real files made with the standard library alone: ``pegasus up --demo`` adds them, the tests read them back.

The same document always makes the same bytes, so adding it twice is seen as the same content.
"""

from __future__ import annotations

import io
import textwrap
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from html import escape

_AUTHOR = "Pegasus samples"
_CREATED = "2026-01-05T09:00:00Z"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "http://schemas.openxmlformats.org"
_RELATIONSHIPS = f"{_OFFICE}/officeDocument/2006/relationships"
_DRAWING = f"{_OFFICE}/drawingml/2006/main"
_CONTENT_TYPE = "application/vnd.openxmlformats-officedocument"


@dataclass(frozen=True, slots=True)
class SampleDocument:
    """A title and its sections, each a heading with paragraphs; characters outside Latin-1 do not fit a PDF."""

    title: str
    sections: Sequence[tuple[str, Sequence[str]]] = field(default_factory=tuple)


# --- PDF ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    font: str
    size: int
    space_above: int = 0


def make_pdf(document: SampleDocument) -> bytes:
    """A4 pages in Helvetica, wrapped and broken as needed, headings larger and bold."""
    pages = list(_paginate(_pdf_lines(document)))
    page_numbers = [6 + 2 * index for index in range(len(pages))]
    kids = " ".join(f"{number} 0 R" for number in page_numbers)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        b"<< /Title " + _pdf_string(document.title) + b" /Author " + _pdf_string(_AUTHOR) + b" >>",
    ]
    for number, content in zip(page_numbers, pages, strict=True):
        objects += [_pdf_page(number + 1), _pdf_stream(content)]
    return _pdf_file(objects)


def _pdf_lines(document: SampleDocument) -> Iterator[_Line]:
    yield _Line(document.title, "F2", 24)
    for heading, paragraphs in document.sections:
        yield _Line(heading, "F2", 16, space_above=18)
        for paragraph in paragraphs:
            for index, line in enumerate(textwrap.wrap(paragraph, 84)):
                yield _Line(line, "F1", 11, space_above=0 if index else 8)


def _paginate(lines: Iterator[_Line], top: int = 770, bottom: int = 60) -> Iterator[bytes]:
    content, height = b"", top
    for line in lines:
        height -= line.space_above + round(line.size * 1.3)
        if height < bottom:
            yield content
            content, height = b"", top - round(line.size * 1.3)
        content += f"BT /{line.font} {line.size} Tf 72 {height} Td ".encode() + _pdf_string(line.text) + b" Tj ET\n"
    yield content


def _pdf_string(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return b"(" + escaped.encode("cp1252") + b")"


def _pdf_page(content_number: int) -> bytes:
    resources = "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >>"
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] {resources} /Contents {content_number} 0 R >>"
    return page.encode()


def _pdf_stream(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream"


def _pdf_file(objects: Sequence[bytes]) -> bytes:
    body, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    entries = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{entries}"
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return body + (table + trailer).encode()


# --- Office Open XML ---------------------------------------------------------------------------------------------


def make_docx(document: SampleDocument) -> bytes:
    """A Word document with the built-in styles Title and Heading 1."""
    body = [_word_paragraph(document.title, "Title")]
    for heading, paragraphs in document.sections:
        body.append(_word_paragraph(heading, "Heading1"))
        body += [_word_paragraph(paragraph) for paragraph in paragraphs]
    namespace = f'xmlns:w="{_OFFICE}/wordprocessingml/2006/main"'
    parts = {
        "word/document.xml": f"<w:document {namespace}><w:body>{''.join(body)}<w:sectPr/></w:body></w:document>",
        "word/styles.xml": f"<w:styles {namespace}>{''.join(map(_word_style, _WORD_STYLES))}</w:styles>",
        "word/_rels/document.xml.rels": _relationships([("styles", "styles.xml")]),
    }
    types = {
        "word/document.xml": f"{_CONTENT_TYPE}.wordprocessingml.document.main+xml",
        "word/styles.xml": f"{_CONTENT_TYPE}.wordprocessingml.styles+xml",
    }
    return _office_file(document.title, parts, types)


_WORD_STYLES = (
    ("Normal", "Normal", ""),
    ("Title", "Title", ""),
    ("Heading1", "heading 1", '<w:outlineLvl w:val="0"/>'),
)


def _word_style(style: tuple[str, str, str]) -> str:
    identifier, name, properties = style
    attributes = f'w:type="paragraph" w:styleId="{identifier}"' + (' w:default="1"' if name == "Normal" else "")
    return f'<w:style {attributes}><w:name w:val="{name}"/><w:pPr>{properties}</w:pPr></w:style>'


def _word_paragraph(text: str, style: str = "Normal") -> str:
    run = f'<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r>'
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr>{run}</w:p>'


def make_pptx(document: SampleDocument) -> bytes:
    """A title slide, then one slide a section."""
    slides = [(document.title, ()), *document.sections]
    namespaces = f'xmlns:a="{_DRAWING}" xmlns:r="{_RELATIONSHIPS}" xmlns:p="{_OFFICE}/presentationml/2006/main"'
    ids = "".join(f'<p:sldId id="{256 + n}" r:id="rId{2 + n}"/>' for n in range(len(slides)))
    parts = {
        "ppt/presentation.xml": f"<p:presentation {namespaces}><p:sldMasterIdLst>"
        f'<p:sldMasterId id="2147483648" r:id="rId1"/></p:sldMasterIdLst><p:sldIdLst>{ids}</p:sldIdLst>'
        '<p:sldSz cx="9144000" cy="6858000"/><p:notesSz cx="6858000" cy="9144000"/></p:presentation>',
        "ppt/_rels/presentation.xml.rels": _relationships(
            [("slideMaster", "slideMasters/slideMaster1.xml")]
            + [("slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1)]
        ),
        "ppt/slideMasters/slideMaster1.xml": f"<p:sldMaster {namespaces}>{_slide_tree('')}<p:clrMap {_COLOUR_MAP}/>"
        '<p:sldLayoutIdLst><p:sldLayoutId id="2147483649" r:id="rId1"/></p:sldLayoutIdLst></p:sldMaster>',
        "ppt/slideMasters/_rels/slideMaster1.xml.rels": _relationships(
            [("slideLayout", "../slideLayouts/slideLayout1.xml"), ("theme", "../theme/theme1.xml")]
        ),
        "ppt/slideLayouts/slideLayout1.xml": f"<p:sldLayout {namespaces}>{_slide_tree('')}</p:sldLayout>",
        "ppt/slideLayouts/_rels/slideLayout1.xml.rels": _relationships(
            [("slideMaster", "../slideMasters/slideMaster1.xml")]
        ),
        "ppt/theme/theme1.xml": _theme(),
    }
    for number, (heading, paragraphs) in enumerate(slides, start=1):
        shapes = _slide_shape(2, "title", [heading]) + (_slide_shape(3, "body", paragraphs) if paragraphs else "")
        parts[f"ppt/slides/slide{number}.xml"] = f"<p:sld {namespaces}>{_slide_tree(shapes)}</p:sld>"
        layout = [("slideLayout", "../slideLayouts/slideLayout1.xml")]
        parts[f"ppt/slides/_rels/slide{number}.xml.rels"] = _relationships(layout)
    return _office_file(
        document.title, parts, {name: _slide_type(name) for name in parts if not name.endswith(".rels")}
    )


_COLOUR_MAP = (
    'bg1="lt1" tx1="dk1" bg2="lt2" tx2="dk2" accent1="accent1" accent2="accent2" accent3="accent3" '
    'accent4="accent4" accent5="accent5" accent6="accent6" hlink="hlink" folHlink="folHlink"'
)


def _slide_type(name: str) -> str:
    if name.startswith("ppt/theme"):
        return f"{_CONTENT_TYPE}.theme+xml"
    kind = name.rsplit("/", 1)[1].removesuffix(".xml").rstrip("0123456789")
    return f"{_CONTENT_TYPE}.presentationml.{kind}{'.main' if kind == 'presentation' else ''}+xml"


def _slide_tree(shapes: str) -> str:
    group = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
    return f"<p:cSld><p:spTree>{group}{shapes}</p:spTree></p:cSld>"


def _slide_shape(number: int, placeholder: str, paragraphs: Sequence[str]) -> str:
    top, height = (300_000, 1_000_000) if placeholder == "title" else (1_500_000, 4_800_000)
    text = "".join(f"<a:p><a:r><a:t>{escape(paragraph)}</a:t></a:r></a:p>" for paragraph in paragraphs)
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="{number}" name="{placeholder}"/><p:cNvSpPr/><p:nvPr><p:ph type="{placeholder}"/>'
        f'</p:nvPr></p:nvSpPr><p:spPr><a:xfrm><a:off x="500000" y="{top}"/><a:ext cx="8100000" cy="{height}"/></a:xfrm>'
        f"</p:spPr><p:txBody><a:bodyPr/><a:lstStyle/>{text}</p:txBody></p:sp>"
    )


def _theme() -> str:
    """The smallest theme that PowerPoint opens: twelve colours, two fonts, three of each format."""
    names = ["dk1", "lt1", "dk2", "lt2", *(f"accent{n}" for n in range(1, 7)), "hlink", "folHlink"]
    colours = "".join(
        f'<a:{name}><a:srgbClr val="{"FFFFFF" if name.startswith("lt") else "1F2937"}"/></a:{name}>' for name in names
    )
    font = '<a:latin typeface="Helvetica"/><a:ea typeface=""/><a:cs typeface=""/>'
    fill = '<a:solidFill><a:schemeClr val="phClr"/></a:solidFill>'
    formats = (
        f"<a:fillStyleLst>{fill * 3}</a:fillStyleLst><a:lnStyleLst>{f'<a:ln>{fill}</a:ln>' * 3}</a:lnStyleLst>"
        f"<a:effectStyleLst>{'<a:effectStyle><a:effectLst/></a:effectStyle>' * 3}</a:effectStyleLst>"
        f"<a:bgFillStyleLst>{fill * 3}</a:bgFillStyleLst>"
    )
    return (
        f'<a:theme xmlns:a="{_DRAWING}" name="Plain"><a:themeElements><a:clrScheme name="Plain">{colours}</a:clrScheme>'
        f'<a:fontScheme name="Plain"><a:majorFont>{font}</a:majorFont><a:minorFont>{font}</a:minorFont></a:fontScheme>'
        f'<a:fmtScheme name="Plain">{formats}</a:fmtScheme></a:themeElements></a:theme>'
    )


def make_xlsx(document: SampleDocument) -> bytes:
    """One sheet a section: a header row, then a numbered row for every paragraph."""
    main = f'xmlns="{_OFFICE}/spreadsheetml/2006/main"'
    names = [_sheet_name(heading) for heading, _ in document.sections] or ["Sheet1"]
    sheets = "".join(f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(names, 1))
    paths = [f"xl/worksheets/sheet{n}.xml" for n in range(1, len(names) + 1)]
    bodies = [paragraphs for _, paragraphs in document.sections] or [()]
    parts = {
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{_RELATIONSHIPS}"><sheets>{sheets}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relationships([("worksheet", path.removeprefix("xl/")) for path in paths]),
    }
    for path, paragraphs in zip(paths, bodies, strict=True):
        rows = [("No", document.title), *((str(n), paragraph) for n, paragraph in enumerate(paragraphs, 1))]
        data = "".join(_sheet_row(number, row) for number, row in enumerate(rows, 1))
        parts[path] = f"<worksheet {main}><sheetData>{data}</sheetData></worksheet>"
    types = dict.fromkeys(paths, f"{_CONTENT_TYPE}.spreadsheetml.worksheet+xml")
    types["xl/workbook.xml"] = f"{_CONTENT_TYPE}.spreadsheetml.sheet.main+xml"
    return _office_file(document.title, parts, types)


def _sheet_name(heading: str) -> str:
    """Excel allows 31 characters, and none of these."""
    return "".join(" " if character in "[]:*?/\\" else character for character in heading)[:31]


def _sheet_row(number: int, cells: Sequence[str]) -> str:
    columns = "".join(
        f'<c r="{chr(65 + index)}{number}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>'
        for index, cell in enumerate(cells)
    )
    return f'<row r="{number}">{columns}</row>'


def _office_file(title: str, parts: Mapping[str, str], types: Mapping[str, str]) -> bytes:
    main = next(iter(parts))
    dublin_core = "http://purl.org/dc"
    core = (
        f'<cp:coreProperties xmlns:cp="{_OFFICE}/package/2006/metadata/core-properties" '
        f'xmlns:dc="{dublin_core}/elements/1.1/" xmlns:dcterms="{dublin_core}/terms/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<dc:title>{escape(title)}</dc:title><dc:creator>{_AUTHOR}</dc:creator>"
        f'<dcterms:created xsi:type="dcterms:W3CDTF">{_CREATED}</dcterms:created></cp:coreProperties>'
    )
    overrides = {**types, "docProps/core.xml": "application/vnd.openxmlformats-package.core-properties+xml"}
    content_types = (
        f'<Types xmlns="{_OFFICE}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        + "".join(f'<Override PartName="/{name}" ContentType="{kind}"/>' for name, kind in overrides.items())
        + "</Types>"
    )
    root = _relationships([("officeDocument", main), ("core-properties", "docProps/core.xml")])
    files = {"[Content_Types].xml": content_types, "_rels/.rels": root, **parts, "docProps/core.xml": core}
    return _zip({name: _XML + content for name, content in files.items()})


def _relationships(targets: Sequence[tuple[str, str]]) -> str:
    """Relationships rId1, rId2, ... in this order."""
    package = f"{_OFFICE}/package/2006/relationships"
    items = (
        f'<Relationship Id="rId{number}" Target="{target}" '
        f'Type="{f"{package}/metadata" if kind == "core-properties" else _RELATIONSHIPS}/{kind}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{package}">{"".join(items)}</Relationships>'


def _zip(files: Mapping[str, str], stored: Sequence[str] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            method = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


# --- EPUB, HTML, mail --------------------------------------------------------------------------------------------


def make_epub(document: SampleDocument) -> bytes:
    """An EPUB 3 with one chapter a section."""
    chapters = {f"chapter{number}": section for number, section in enumerate(document.sections, start=1)}
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": f'{_XML}<container version="1.0" '
        'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OEBPS/content.opf" '
        'media-type="application/oebps-package+xml"/></rootfiles></container>',
        "OEBPS/content.opf": _epub_package(document.title, list(chapters)),
        "OEBPS/nav.xhtml": _epub_navigation(document.title, {name: heading for name, (heading, _) in chapters.items()}),
    }
    for name, (heading, paragraphs) in chapters.items():
        body = f"<h1>{escape(heading)}</h1>" + "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
        files[f"OEBPS/{name}.xhtml"] = _xhtml(heading, body)
    return _zip(files, stored=["mimetype"])


def _epub_package(title: str, chapters: Sequence[str]) -> str:
    items = "".join(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    return (
        f'{_XML}<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">urn:pegasus:sample</dc:identifier>'
        f"<dc:title>{escape(title)}</dc:title><dc:creator>{_AUTHOR}</dc:creator><dc:language>en</dc:language>"
        f'<meta property="dcterms:modified">{_CREATED}</meta></metadata><manifest><item id="nav" href="nav.xhtml" '
        f'media-type="application/xhtml+xml" properties="nav"/>{items}</manifest><spine>{spine}</spine></package>'
    )


def _epub_navigation(title: str, chapters: Mapping[str, str]) -> str:
    entries = "".join(f'<li><a href="{name}.xhtml">{escape(heading)}</a></li>' for name, heading in chapters.items())
    return _xhtml(title, f'<nav epub:type="toc" xmlns:epub="http://www.idpf.org/2007/ops"><ol>{entries}</ol></nav>')


def _xhtml(title: str, body: str) -> str:
    head = f"<head><title>{escape(title)}</title></head>"
    return f'{_XML}<html xmlns="http://www.w3.org/1999/xhtml">{head}<body>{body}</body></html>'


def make_html(document: SampleDocument) -> bytes:
    """A page with the furniture of real ones (navigation, script, style, footer) around an article."""
    sections = "".join(
        f"<section><h2>{escape(heading)}</h2>{''.join(f'<p>{escape(text)}</p>' for text in paragraphs)}</section>\n"
        for heading, paragraphs in document.sections
    )
    title = escape(document.title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="author" content="{_AUTHOR}"><style>body {{ margin: 2em }}</style></head>\n'
        f'<body><nav><a href="/">Home</a></nav><script>console.log("hello")</script>\n'
        f"<article><h1>{title}</h1>\n{sections}</article><footer>Printed by Pegasus</footer></body></html>\n"
    ).encode()


def make_eml(document: SampleDocument) -> bytes:
    """A plain-text mail: the title is the subject, each section a line and its paragraphs."""
    message = EmailMessage()
    message["Subject"] = document.title
    message["From"] = "Ada Sample <ada@example.org>"
    message["To"] = "Ben Sample <ben@example.org>"
    message["Date"] = "Mon, 05 Jan 2026 09:00:00 +0000"
    message["Message-ID"] = f"<{zlib.crc32(document.title.encode()):08x}@example.org>"
    message.set_content("\n\n".join("\n\n".join([heading, *paragraphs]) for heading, paragraphs in document.sections))
    return message.as_bytes()
