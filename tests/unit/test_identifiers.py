"""Ids sort by creation, so that a page's cursor is just the last id."""

from __future__ import annotations

from pegasus.identifiers import is_id, new_id, sha256_hex


def test_ids_made_one_after_the_other_sort_in_that_order() -> None:
    """Jobs of one document run in the order of their ids, which many a request makes within one millisecond."""
    ids = [new_id() for _ in range(20_000)]
    assert ids == sorted(set(ids))


def test_only_the_canonical_form_is_an_id() -> None:
    made = new_id()
    assert is_id(made)
    assert not any(map(is_id, [made.upper(), made.replace("-", ""), f"{{{made}}}", f" {made}", "", "x", "'; --"]))


def test_a_text_and_its_bytes_have_one_digest() -> None:
    assert sha256_hex("Straße") == sha256_hex("Straße".encode())
    assert sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
