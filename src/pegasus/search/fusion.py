"""Fuse rankings by their scores, not only by their ranks, so that a side that is sure is not outvoted.

Scaling each side's scores to 0..1 and adding them beats both sides on literal and on paraphrased queries, where
reciprocal rank fusion with equal weights falls behind the better one (docs/decisions/0004-fusion.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
