"""Puts a damaged text together again from its passages, which hold every character that is not white space."""

from __future__ import annotations

from collections.abc import Sequence

from pegasus.identifiers import sha256_hex


def restored_text(damaged: str, passages: Sequence[tuple[int, str]], sha256: str) -> str | None:
    """The text that has this SHA-256, from (offset, text) of its passages in order; None where it cannot be had.

    The white space between passages is taken from the damaged text, counted from its start before the damage and from
    its end after it.
    """
    if not passages:
        return None
    last_start, last = passages[-1]
    end = last_start + len(last)
    for length in dict.fromkeys((len(damaged), end, end + 1, end + 2)):  # Texts end with hardly more white space.
        shift = len(damaged) - length
        parts: list[str] = []
        at = 0
        for start, text in passages:
            parts += [_gap(damaged, at, start, shift), text]
            at = start + len(text)
        candidate = "".join([*parts, _gap(damaged, at, max(at, length), shift)])
        if sha256_hex(candidate) == sha256:
            return candidate
    return None


def _gap(damaged: str, start: int, end: int, shift: int) -> str:
    candidates = (damaged[start:end], damaged[max(0, start + shift) : max(0, end + shift)])
    for candidate in candidates:
        if len(candidate) == end - start and not candidate.strip():
            return candidate
    return {0: "", 1: "\n", 2: "\n\n"}.get(end - start, " " * (end - start))
