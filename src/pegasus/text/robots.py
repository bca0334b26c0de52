"""Reads robots.txt as RFC 9309 has it, with the * and $ that Python's own parser does not know."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlsplit

_MAX_RULES = 10_000

Rule = tuple[str, bool]  # a pattern of paths, and whether they are allowed


class Robots:
    """What one site lets one robot fetch."""

    def __init__(self, text: str, agent: str) -> None:
        groups: dict[str, list[Rule]] = {}
        for agents, rule in _groups(text):
            for name in agents:
                groups.setdefault(name, []).append(rule)
        mine = groups.get(agent.lower(), groups.get("*", []))
        # The longest pattern that fits decides, and of equals the one that allows.
        self._rules = sorted(mine[:_MAX_RULES], key=lambda rule: (len(rule[0]), rule[1]), reverse=True)

    def allows(self, url: str) -> bool:
        parts = urlsplit(url)
        path = _normal(f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/")
        return next((allowed for pattern, allowed in self._rules if _fits(pattern, path)), True)


def _groups(text: str) -> Iterator[tuple[list[str], Rule]]:
    """Each rule with the robots that it is for."""
    agents: list[str] = []
    in_rules = False
    for line in text.splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            continue
        if name == "user-agent":
            agents = [] if in_rules else agents
            agents.append(value.lower())
            in_rules = False
        elif name in ("allow", "disallow"):
            in_rules = True
            # An empty rule forbids nothing; but its group is there, and is the one that counts.
            yield agents[:], (_normal(value), name == "allow" or not value)


def _normal(path: str) -> str:
    """The same path for the same octets, however many of them are written as %xx."""
    return quote(path, safe="/?&=%*$:@!'()+,;~-._[]")


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern is a path's beginning, or with $ the whole of it; piece by piece, in linear time."""
    whole = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    for number, piece in enumerate(rest, start=1):
        if whole and number == len(rest):
            return len(path) - len(piece) >= at and path.endswith(piece)
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return at == len(path) or not whole
