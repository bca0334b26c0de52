"""Patterns of SQL's LIKE from texts of strangers, in which its wildcards are only characters."""

from __future__ import annotations


def containing(text: str) -> str:
    """The pattern of what has ``text`` in it; the escape is a backslash, as in ``LIKE :pattern ESCAPE``."""
    return "%" + "".join(f"\\{c}" if c in "\\%_" else c for c in text) + "%"
