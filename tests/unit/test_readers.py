"""Markdown, CSV and JSON as text with headings and links, and HTML as a person sees it."""

from __future__ import annotations

import time

import pytest

from pegasus.domain import Extraction, Link
from pegasus.errors import Unreadable
from pegasus.text.html import read_html
from pegasus.text.markdown import read_markdown
from pegasus.text.records import read_csv, read_json


def headings(extraction: Extraction) -> list[tuple[int, str]]:
    """Level and title of each heading, after checking that it stands where it says."""
    for heading in extraction.headings:
        assert extraction.text[heading.start : heading.start + len(heading.title)] == heading.title
    return [(heading.level, heading.title) for heading in extraction.headings]


def links(extraction: Extraction) -> list[tuple[str, str]]:
    return [(link.target, link.label) for link in extraction.links]


class TestMarkdown:
    def test_the_text_is_stored_as_it_is_written(self) -> None:
        text = "# *One* #\n\nSome **bold** text.\n"
        assert read_markdown(text).text == text

    def test_both_kinds_of_headings_are_found_where_they_stand(self) -> None:
        text = "# One ##\n\nTwo\n===\n\nThree\n---\n\n  ###   Four   ###\n#\n#five\n    # six\n\\# seven\n"
        assert headings(read_markdown(text)) == [(1, "One"), (1, "Two"), (2, "Three"), (3, "Four")]

    def test_a_rule_below_a_paragraph_a_list_or_a_table_is_no_heading(self) -> None:
        text = "one\ntwo\n---\n\n- item\n---\n\n| a | b |\n---\n\n---\n"
        assert headings(read_markdown(text)) == []

    def test_code_holds_neither_headings_nor_links(self) -> None:
        text = "```sh\n# no\n[no](x)\n~~~\n```\n~~~~\n# no\n```\n~~~\n~~~~\n`[no](y)` `# no`\n# Yes `code`\n"
        found = read_markdown(text)
        assert headings(found) == [(1, "Yes `code`")]
        assert links(found) == []

    def test_every_kind_of_link_is_found_once(self) -> None:
        text = (
            "[inline](a.md) [titled](<b c.md> 'T') [paren](http://x.org/a_(b)) ![image](no.png) [full][Ref] [ref] "
            "[[Wiki page]] [[Page#part|label]] <https://auto.org> <me@x.org> see https://bare.org/x. [inline](a.md) "
            "[anchor](#here) [script](javascript:x) [none] \\[no](no.md)\n\n[REF]: ref.md 'Title'\n"
        )
        assert list(read_markdown(text).links) == [
            Link("a.md", "inline", "hyperlink"),
            Link("b c.md", "titled", "hyperlink"),
            Link("http://x.org/a_(b)", "paren", "hyperlink"),
            Link("ref.md", "full", "hyperlink"),
            Link("ref.md", "ref", "hyperlink"),
            Link("Wiki page", "Wiki page", "wiki"),
            Link("Page#part", "label", "wiki"),
            Link("https://auto.org", "https://auto.org", "hyperlink"),
            Link("mailto:me@x.org", "me@x.org", "hyperlink"),
            Link("https://bare.org/x", "https://bare.org/x", "hyperlink"),
        ]

    def test_front_matter_gives_title_and_metadata_and_no_heading(self) -> None:
        found = read_markdown("---\ntitle: 'The log'\nauthor: Ann\n---\n# One\n")
        assert (found.title, found.metadata, headings(found)) == ("The log", {"author": "Ann"}, [(1, "One")])

    @pytest.mark.parametrize(
        "piece", ["[a](", "`", "``a ", "![a](", "[[", "# ", "a\n---\n", "[x]: ", "<a@", "---\na: "]
    )
    def test_hostile_markdown_takes_linear_time(self, piece: str) -> None:
        started = time.thread_time()
        read_markdown(piece * (1_000_000 // len(piece)))
        assert time.thread_time() - started < 5


class TestCsv:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_rows_become_named_fields(self, delimiter: str) -> None:
        rows = [["Name", "Note"], ["Ann", f'"a{delimiter}b\nc"'], ["Bob", ""], ["", "=1+1"]]
        text = "\n".join(delimiter.join(row) for row in rows)
        assert read_csv(text).text == f"Name: Ann\nNote: a{delimiter}b\nc\n\nName: Bob\n\nNote: =1+1"

    def test_rows_without_a_header_stay_rows(self) -> None:
        assert read_csv("1,Ann\n2,Bob\n").text == "1\tAnn\n\n2\tBob"

    def test_more_cells_than_headers_are_kept(self) -> None:
        assert read_csv("a,b\n1,2,3\n").text == "a: 1\nb: 2\n3"

    def test_a_quotation_mark_left_open_is_located(self) -> None:
        with pytest.raises(Unreadable, match="The CSV cannot be read: field larger than field limit") as caught:
            read_csv('a,b\n1,"' + "x\n" * 100_000)
        assert "never closed" in (caught.value.hint or "")


class TestJson:
    def test_fields_become_paths_and_numbers_stay_as_written(self) -> None:
        text = '{"a": {"b": [1.10, true, null, "x"]}, "c": [{"d": 12345678901234567890}, "e"], "f": ""}'
        assert read_json(text).text == "a.b: 1.10, true, , x\nc[0].d: 12345678901234567890\nc[1]: e"

    def test_titles_become_headings_and_bodies_prose(self) -> None:
        found = read_json(
            '[{"title": "One", "body": "First\\r\\nnote.", "tag": "t"}, {"title": "Two", "text": "Next."}]'
        )
        assert found.text == "One\n\nFirst\nnote.\n\ntag: t\n\nTwo\n\nNext."
        assert (found.title, headings(found)) == ("One", [(2, "One"), (2, "Two")])

    def test_characters_that_cannot_be_stored_are_replaced(self) -> None:
        assert read_json('{"a": "x\\u0000y\\ud800z"}').text == "a: xy\ufffdz"

    def test_invalid_json_is_located(self) -> None:
        with pytest.raises(Unreadable, match=r"The JSON is not valid: Expecting value at line 2, column 7"):
            read_json('{"a": 1,\n "b": }')

    @pytest.mark.parametrize("depth", [101, 100_000])
    def test_deep_nesting_is_refused(self, depth: int) -> None:
        with pytest.raises(Unreadable, match="nested deeper than 100 levels"):
            read_json("[" * depth + '{"a": 1}' + "]" * depth)


class TestHtml:
    def test_text_stands_as_a_person_sees_it(self) -> None:
        page = b"""<title>T &amp; t</title><nav>menu</nav><script>var x = "<p>no</p>"</script><style>p {}</style>
        loose <h1>One <em>*two*</em> &amp;
        three</h1><p>a <b>b</b>  c<br>d_e_f</p><div>div<p hidden>hidden<div style="display: none">none</div></div>
        <ul><li>x<ul><li>y</li></ul></li></ul><ol start=3><li><p>three</p></li><li>four</ol>
        <table><tr><th>k<th>v<tr><td>1<td>2 | 3</table><pre> a\n   b</pre><dl><dt>t<dd>d</dl>
        <button>no</button><article><footer>kept</footer></article><footer>gone</footer>"""
        found = read_html(page, None)
        assert found.title == "T & t"
        assert headings(found) == [(1, "One *two* & three")]
        assert found.text == (
            "loose\n\nOne *two* & three\n\na b c\nd_e_f\n\ndiv\n\nx\ny\n\n3. three\n\n4. four\n\nk\tv\n1\t2 | 3\n\n"
            " a\n   b\n\nt\nd\n\nkept"
        )

    def test_a_table_made_for_the_layout_is_read_as_blocks(self) -> None:
        page = (
            b"<table><tr><td><h1>Head</h1><p>one</p><p>two</p></td><td><table><tr><td>a<td>b</table></td></tr></table>"
        )
        found = read_html(page, None)
        assert found.text == "Head\n\none\n\ntwo\n\na\tb"
        assert headings(found) == [(1, "Head")]

    def test_links_have_their_labels(self) -> None:
        found = read_html(b'<a href="a.html?x=1&amp;y=2">the <b>page</b></a> <a href="#x">here</a> <a>none</a>', None)
        assert links(found) == [("a.html?x=1&y=2", "the page")]

    @pytest.mark.parametrize(
        ("content", "charset"),
        [
            ('<meta charset="windows-1252"><p>café – bar'.encode("cp1252"), None),
            (b'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"><p>caf\xe9 \x96 bar', None),
            ('<?xml version="1.0" encoding="windows-1252"?><p>café – bar'.encode("cp1252"), None),
            ('<meta charset="utf-16"><p>café – bar'.encode(), None),
            ('<meta charset="ascii"><p>café – bar'.encode("utf-16"), None),
            ('<meta charset="utf-8"><p>café – bar'.encode("cp1252"), "windows-1252"),
        ],
    )
    def test_charsets_are_found_as_browsers_do(self, content: bytes, charset: str | None) -> None:
        assert read_html(content, charset).text == "café – bar"

    def test_an_unknown_charset_is_named(self) -> None:
        with pytest.raises(Unreadable, match="The page says that its charset is 'klingon'"):
            read_html(b'<meta charset="klingon"><p>x', None)

    def test_deep_nesting_is_read(self) -> None:
        assert read_html(b"<div>" * 50_000 + b"deep", None).text == "deep"
