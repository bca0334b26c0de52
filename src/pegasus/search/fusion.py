"""Fuse rankings by their scores, not only by their ranks, so that a side that is sure is not outvoted.

Scaled scores alone trade literal queries against paraphrased ones, whatever the weights; so meaning weighs more, and a
passage that has the very words of the query, in their order, gets a bonus. The measurements that chose this, and what
was rejected, are in docs/decisions/0004-fusion.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pegasus.text.words import stem, words

Ranking = Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Fused:
    id: str
    score: float
    ranks: Mapping[str, int]


def fuse(rankings: Mapping[str, Ranking], weights: Mapping[str, float]) -> list[Fused]:
    """One list, best first, from rankings of (id, score; more is better) that are sorted best first."""
    scores: dict[str, float] = {}
    ranks: dict[str, dict[str, int]] = {}
    for name, ranking in rankings.items():
        for rank, ((id_, _), scaled) in enumerate(zip(ranking, _scaled(ranking), strict=True), start=1):
            scores[id_] = scores.get(id_, 0.0) + weights[name] * scaled
            ranks.setdefault(id_, {})[name] = rank
    ordered = sorted(scores, key=lambda id_: (-scores[id_], id_))
    return [Fused(id_, scores[id_], ranks[id_]) for id_ in ordered]


def _scaled(ranking: Ranking) -> list[float]:
    """Scores from 0 (the last) to 1 (the best)."""
    if not ranking:
        return []
    best, last = ranking[0][1], ranking[-1][1]
    width = best - last
    return [(score - last) / width if width > 0 else 1.0 for _, score in ranking]


# Of so few words, people expect each to count, wherever it stands.
_SHORT_QUERY_WORDS = 3


def literalness(query: str, text: str) -> float:
    """How much of the query stands in the text word for word: the share of its neighbouring pairs, 0..1.

    For a query of three words or fewer, the share of the words.
    """
    wanted = [stem(word) for word, _, _ in words(query)]
    present = [stem(word) for word, _, _ in words(text)]
    if len(wanted) <= _SHORT_QUERY_WORDS:
        return len(set(wanted) & set(present)) / max(1, len(set(wanted)))
    pairs = set(pairwise(wanted))
    return len(pairs & set(pairwise(present))) / len(pairs)
