"""Fuse rankings by their scores, not only by their ranks, so that a side that is sure is not outvoted.

Scaled scores alone trade literal queries against paraphrased ones, whatever the weights; so meaning weighs more, and a
passage that has the very words of the query, in their order, gets a bonus. The measurements that chose this, and what
was rejected, are in docs/decisions/0004-fusion.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from pegasus.text.words import stems

Ranking = Sequence[tuple[str, float]]


def fuse(rankings: Mapping[str, Ranking], weights: Mapping[str, float]) -> list[tuple[str, float]]:
    """One ranking, best first, from rankings of (id, score; more is better) that are sorted best first.

    Each side's scores are scaled from 0, its last, to 1, its best, and added up by their weights.
    """
    scores: dict[str, float] = {}
    for name, ranking in rankings.items():
        if not ranking:
            continue
        last, weight = ranking[-1][1], weights[name]
        width = ranking[0][1] - last
        for id_, score in ranking:
            scaled = (score - last) / width if width > 0 else 1.0
            scores[id_] = scores.get(id_, 0.0) + weight * scaled
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def ranks(rankings: Mapping[str, Ranking]) -> dict[str, dict[str, int]]:
    """By ranking, the place of each id in it; 1 is the best."""
    return {name: {id_: n for n, (id_, _) in enumerate(ranking, start=1)} for name, ranking in rankings.items()}


# Of so few words, people expect each to count, wherever it stands.
_SHORT_QUERY_WORDS = 3


def literalness(query: str, text: str) -> float:
    """How much of the query stands in the text word for word: the share of its neighbouring pairs, 0..1.

    For a query of three words or fewer, the share of the words.
    """
    wanted, present = stems(query), stems(text)
    if len(wanted) <= _SHORT_QUERY_WORDS:
        return len(set(wanted) & set(present)) / max(1, len(set(wanted)))
    pairs = set(pairwise(wanted))
    return len(pairs & set(pairwise(present))) / len(pairs)
