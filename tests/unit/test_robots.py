"""robots.txt, by the rules and examples of RFC 9309."""

from __future__ import annotations

import time

import pytest

from pegasus.text.robots import Robots

RULES = """\ufeff
# a comment
User-agent: Googlebot
Disallow: /

User-agent: *
User-Agent: other
Disallow: /private   # and below
Allow: /private/open
Disallow: /*.pdf$
Disallow: /search?*sort=
Disallow: /a%20b
Crawl-delay: ²
Sitemap: https://example.org/sitemap.xml
nonsense
Disallow: /*/secret/
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", True),
        ("", True),
        ("/private", False),
        ("/private/x", False),
        ("/privateer", False),
        ("/private/open/x", True),
        ("/Private", True),
        ("/x.pdf", False),
        ("/deep/x.pdf", False),
        ("/x.pdf?page=1", True),
        ("/x.pdfs", True),
        ("/search?q=1&sort=2", False),
        ("/search?q=1", True),
        ("/a b", False),
        ("/a%20b/c", False),
        ("/x/secret/y", False),
        ("/secret/y", True),
    ],
)
def test_the_longest_rule_that_fits_decides(path: str, allowed: bool) -> None:
    assert Robots(RULES, "Pegasus").allows(f"https://example.org{path}") is allowed


def test_a_group_of_ones_own_is_the_only_one_that_counts() -> None:
    text = "User-agent: *\nDisallow: /\n\nUser-agent: pegasus\nDisallow:\n"
    assert Robots(text, "Pegasus").allows("https://example.org/x")
    assert not Robots(text, "Another").allows("https://example.org/x")


def test_groups_of_the_same_robot_are_joined() -> None:
    text = "User-agent: pegasus\nDisallow: /a\nUser-agent: x\nDisallow: /\nUser-agent: pegasus\nDisallow: /b\n"
    robots = Robots(text, "Pegasus")
    assert [robots.allows(f"https://e.org/{path}") for path in ("a", "b", "c")] == [False, False, True]


def test_of_two_rules_of_a_length_the_one_that_allows_counts() -> None:
    assert Robots("User-agent: *\nDisallow: /x\nAllow: /x\n", "Pegasus").allows("https://e.org/x")


@pytest.mark.parametrize("text", ["", "<html>", "Disallow: /", "\0\0", "User-agent: *"])
def test_without_rules_everything_is_allowed(text: str) -> None:
    assert Robots(text, "Pegasus").allows("https://example.org/x")


def test_a_hostile_pattern_takes_no_time() -> None:
    begun = time.monotonic()
    robots = Robots("User-agent: *\nDisallow: /" + "*a" * 50_000 + "$\n", "Pegasus")
    assert robots.allows("https://example.org/" + "a" * 10_000 + "b")
    assert time.monotonic() - begun < 20
