"""What links point to: the two ends of a link must come to one key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegasus.domain import Link
from pegasus.ingestion.links import document_keys, link_key, outgoing


def hyperlink(target: str) -> Link:
    return Link(target, target, "hyperlink")


def wiki(target: str) -> Link:
    return Link(target, target, "wiki")


def meets(link: Link, base: str | None, *, title: str = "", filename: str | None = None, uri: str = "") -> bool:
    """Whether a link in a document called ``base`` means the document described."""
    return link_key(link, base) in document_keys(title, filename, [uri] if uri else [])


@pytest.mark.parametrize(("target", "base", "uri"), [
    ("https://example.org/a", None, "https://example.org/a"),
    ("https://example.org/a#part", None, "https://example.org/a"),
    ("b.md", "file:///notes/a.md", "file:///notes/b.md"),
    ("../b.md#part", "file:///notes/x/a.md", "file:///notes/b.md"),
    ("/b", "https://example.org/x/a", "https://example.org/b"),
    ("?q=1", "https://example.org/a", "https://example.org/a?q=1"),
    ("my%20note.md", "file:///notes/a.md", "file:///notes/my%20note.md"),
    ("my note.md", "file:///notes/a.md", "file:///notes/my%20note.md"),
    ("b%C3%A9.md", "file:///notes/a.md", "file:///notes/bé.md"),
    ("b.md", "notes/a.md", "notes/b.md"),
    ("b.md", "zip:notes.zip!/a.md", "zip:notes.zip!/b.md"),
    ("../b.md", "zip:notes.zip!/x/a.md", "zip:notes.zip!/b.md"),
])  # fmt: skip
def test_a_hyperlink_means_the_document_of_that_address(target: str, base: str | None, uri: str) -> None:
    assert meets(hyperlink(target), base, uri=uri)


@pytest.mark.parametrize(("target", "uri"), [
    ("https://example.org/a", "https://example.org/b"),
    ("https://example.org/a", "http://example.org/a"),
    ("b.md", "file:///other/b.md"),
])  # fmt: skip
def test_a_hyperlink_does_not_mean_another_address(target: str, uri: str) -> None:
    assert not meets(hyperlink(target), "file:///notes/a.md", uri=uri)


@pytest.mark.parametrize("target", ["My Note", "my  note", "MY NOTE", "My Note#part", "My Note|label"])
def test_a_wiki_link_means_the_document_of_that_name(target: str) -> None:
    assert meets(wiki(target), None, title="My Note")
    assert meets(wiki(target), None, title="Other", filename="my note.md")
    assert meets(wiki(target), "https://x.org", title="Other", uri="file:///notes/My%20Note.md")


def test_a_wiki_link_may_name_the_file_with_its_ending() -> None:
    assert meets(wiki("plan.md"), None, title="A plan", filename="plan.md")
    assert not meets(wiki("plan.txt"), None, title="A plan", filename="plan.md")


def test_a_title_with_a_dot_is_not_taken_for_a_file_name() -> None:
    assert document_keys("Version 1.2 plans", None, []) == ["name:version 1.2 plans"]


@pytest.mark.parametrize(
    "target", ["mailto:ada@example.org", "tel:123", "ftp://x.org/a", "http://[broken", "", "#part"]
)
def test_what_cannot_be_a_document_has_no_key(target: str) -> None:
    assert link_key(hyperlink(target), None) is None


@pytest.mark.parametrize("target", ["", "#part", " ", "|label"])
def test_a_wiki_link_without_a_name_has_no_key(target: str) -> None:
    assert link_key(wiki(target), None) is None


def test_each_target_comes_once_with_its_first_label() -> None:
    links = [Link("b.md", "first", "hyperlink"), Link("b.md#x", "second", "hyperlink"), Link("c.md", "c", "hyperlink")]
    assert [(link.label, key) for link, key in outgoing(links, "file:///a.md")] == [
        ("first", "uri:file:///b.md"), ("c", "uri:file:///c.md"),
    ]  # fmt: skip


def test_a_page_of_endless_links_is_cut_off() -> None:
    assert len(outgoing((hyperlink(f"{n}.md") for n in range(100_000)), None)) == 2_000


@given(st.text(), st.one_of(st.none(), st.text()), st.sampled_from(["hyperlink", "wiki"]))
def test_no_link_is_an_error(target: str, base: str | None, kind: str) -> None:
    link_key(Link(target, "", kind), base)


@given(st.text(), st.one_of(st.none(), st.text()), st.lists(st.text()))
def test_no_document_is_an_error_and_no_key_comes_twice(title: str, filename: str | None, uris: list[str]) -> None:
    keys = document_keys(title, filename, uris)
    assert len(keys) == len(set(keys))
    assert all(keys)
