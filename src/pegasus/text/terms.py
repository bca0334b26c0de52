"""The terms of a text as SQLite's FTS5 makes them, for a full text index that has no tokeniser of its own.

They are those of ``tokenize='porter unicode61 remove_diacritics 2'``: letters and digits in lower case, Latin letters
without their accents, each word cut to its stem. A test compares them with FTS5's own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

# Letters and digits, each with the accents that stand after it as characters of their own.
_WORD = re.compile(r"(?:[^\W_][\u0300-\u036f]*)+")
_ACCENTS = re.compile(r"[\u0300-\u036f]+")
_DOTTED_I = "\u0130"
# FTS5 does not look for stems in words that are shorter or longer, in bytes.
_SHORTEST, _LONGEST = 3, 64
# Longer runs without a gap are no words, and an index has a limit.
_MAX_CHARACTERS = 255


def terms(text: str) -> list[str]:
    """The terms of a text, in order."""
    return [_term(word) for word in _WORD.findall(text)]


@lru_cache(maxsize=50_000)
def _term(word: str) -> str:
    folded = "".join(map(_folded, _ACCENTS.sub("", word)))
    content = folded.encode()
    if _SHORTEST <= len(content) <= _LONGEST:
        # The rules count bytes, as FTS5 does; a byte that is no ASCII letter counts as a consonant.
        folded = _stem(content.decode("latin-1")).encode("latin-1").decode(errors="ignore")
    return folded[:_MAX_CHARACTERS]


@lru_cache(maxsize=5_000)
def _folded(character: str) -> str:
    """In lower case, as far as that is one character, too: an ß stays an ß."""
    lower = "i" if character == _DOTTED_I else character.casefold()
    lower = lower if len(lower) == 1 else character.lower()
    parts = unicodedata.normalize("NFD", lower)
    return parts[0] if len(parts) > 1 and parts[0].isascii() else lower


# --- Porter's stemmer, "An algorithm for suffix stripping", Program 14 (1980) ----------------------------------------

_STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("logi", "log"),
    ("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"),
    ("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"),
    ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"),
)  # fmt: skip
_STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4 = tuple(
    (suffix, "")
    for suffix in (
        "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize"
    ).split()
)  # fmt: skip


def _is_vowel(word: str, at: int) -> bool:
    if word[at] == "y":
        return at > 0 and not _is_vowel(word, at - 1)
    return word[at] in "aeiou"


def _has_vowel(word: str) -> bool:
    return any(_is_vowel(word, at) for at in range(len(word)))


def _measure(word: str) -> int:
    """How often a consonant follows a vowel."""
    vowels = [_is_vowel(word, at) for at in range(len(word))]
    return sum(before and not after for before, after in pairwise(vowels))


def _ends_cvc(word: str) -> bool:
    """Consonant, vowel, consonant, of which the last is not w, x or y."""
    return (
        len(word) >= 3
        and not _is_vowel(word, len(word) - 1)
        and word[-1] not in "wxy"
        and _is_vowel(word, len(word) - 2)
        and not _is_vowel(word, len(word) - 3)
    )


def _replaced(word: str, rules: tuple[tuple[str, str], ...], more_than: int) -> str:
    """By the rule of the longest fitting suffix, where enough of the word is left before it."""
    fitting = [(suffix, by) for suffix, by in rules if word.endswith(suffix) and len(suffix) < len(word)]
    if not fitting:
        return word
    suffix, by = max(fitting, key=lambda rule: len(rule[0]))
    stem = word[: -len(suffix)]
    if _measure(stem) <= more_than or (suffix == "ion" and stem[-1] not in "st"):
        return word
    return stem + by


def _stem(word: str) -> str:
    word = _without_plural(word)
    word = _without_past(word)
    if word[-1] == "y" and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _STEP_2, 0)
    word = _replaced(word, _STEP_3, 0)
    word = _replaced(word, _STEP_4, 1)
    if word[-1] == "e":
        left = _measure(word[:-1])
        if left > 1 or (left == 1 and not _ends_cvc(word[:-1])):
            word = word[:-1]
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word


def _without_plural(word: str) -> str:
    if word.endswith(("sses", "ies")) and word not in ("sses", "ies"):
        return word[:-2]
    return word[:-1] if word[-1] == "s" and not word.endswith("ss") else word


def _without_past(word: str) -> str:
    if word.endswith("eed") and word != "eed":
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        stem = word.removesuffix(suffix)
        if stem != word and _has_vowel(stem):
            return _mended(stem)
    return word


def _mended(stem: str) -> str:
    """What is left after -ed or -ing, so that it ends as the word does without these."""
    if stem.endswith(("at", "bl", "iz")):
        return stem + "e"
    if len(stem) > 1 and stem[-1] == stem[-2] and stem[-1] not in "aeioulsz":
        return stem[:-1]
    if _measure(stem) == 1 and _ends_cvc(stem):
        return stem + "e"
    return stem
