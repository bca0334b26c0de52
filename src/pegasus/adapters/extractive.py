"""Answers without a language model: the sentences of the passages that answer, word for word.

It cannot make anything up. What it can do is choose badly, so it is asked to be sure: a sentence counts when it is
near the question in meaning or shares what the question is about, and below a threshold it says that nothing was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pegasus.domain import Citation, FoundPassage
from pegasus.identifiers import sha256_hex
from pegasus.ports import Draft, Embedder
from pegasus.text.words import content_words, sentences, stem, stems, words

_PASSAGES = 5
_MAX_CANDIDATES = 40
_MIN_SENTENCE, _MAX_SENTENCE = 15, 600
_MAX_SENTENCES = 3
# What a sentence's score is made of: its nearness to the question in meaning, its passage's, and the share of the
# question's words that it has. Chosen on half of bench/prose (docs/decisions/0005-answers.md).
_SENTENCE_WEIGHT, _PASSAGE_WEIGHT, _WORDS_WEIGHT = 0.6, 0.3, 0.1
# A sentence of whose words another has so many says the same.
_SAME_WORDS = 0.8
# A further sentence must be nearly as good as the first.
_KEEP_WITHIN = 0.85
# Below this, "nothing found" is right more often than an answer (docs/decisions/0005-answers.md).
_THRESHOLD = 0.40


@dataclass(frozen=True, slots=True)
class _Candidate:
    found: FoundPassage
    start: int
    end: int
    rank: int

    @property
    def quote(self) -> str:
        offset = self.found.passage.start
        return self.found.passage.text[self.start - offset : self.end - offset]


class ExtractiveAgent:
    name = "extractive@1"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def answer(self, question: str, passages: Sequence[FoundPassage]) -> Draft:
        candidates = list(_candidates(passages[:_PASSAGES]))[:_MAX_CANDIDATES]
        if not candidates:
            return Draft((), found=False)
        scores = self._scores(question, candidates)
        order = sorted(range(len(candidates)), key=lambda n: -scores[n])
        best = scores[order[0]]
        if best < _THRESHOLD:
            return Draft((), found=False)
        good = [n for n in order if scores[n] >= best * _KEEP_WITHIN]
        chosen = _without_repetition(good, candidates)[:_MAX_SENTENCES]
        in_order = sorted(chosen, key=lambda n: (candidates[n].rank, candidates[n].start))
        return Draft([(_folded(candidates[n].quote), _citation(candidates[n])) for n in in_order], found=True)

    def _scores(self, question: str, candidates: Sequence[_Candidate]) -> list[float]:
        vectors = self._embedder.embed([question, *(candidate.quote for candidate in candidates)])
        similarities = vectors[1:] @ vectors[0]
        wanted = {stem(word) for word in content_words(question, 32)}
        return [
            _SENTENCE_WEIGHT * similarity
            # A passage so new that it was only found by its words is taken at its sentence's word.
            + _PASSAGE_WEIGHT * (similarity if candidate.found.similarity is None else candidate.found.similarity)
            + _WORDS_WEIGHT * _coverage(wanted, candidate)
            for similarity, candidate in zip(similarities.tolist(), candidates, strict=True)
        ]


def _candidates(passages: Sequence[FoundPassage]) -> list[_Candidate]:
    found = []
    for rank, item in enumerate(passages):
        for start, end in sentences(item.passage.text):
            if _MIN_SENTENCE <= end - start <= _MAX_SENTENCE and not _only_asks(item, start, end):
                found.append(_Candidate(item, item.passage.start + start, item.passage.start + end, rank))
    return found


def _without_repetition(order: Sequence[int], candidates: Sequence[_Candidate]) -> list[int]:
    """The best first, without those that say in nearly the same words what a better one says."""
    chosen: dict[int, set[str]] = {}
    for n in order:
        said = set(stems(candidates[n].quote))
        if all(len(said & other) < _SAME_WORDS * min(len(said), len(other)) for other in chosen.values()):
            chosen[n] = said
    return list(chosen)


def _only_asks(item: FoundPassage, start: int, end: int) -> bool:
    """Whether a sentence is a question or a heading: near to what is asked, and no answer to it."""
    sentence = item.passage.text[start:end].strip("# \n")
    return sentence.endswith("?") or sentence in (item.passage.title, *item.passage.heading.split(" > "))


def _coverage(wanted: set[str], candidate: _Candidate) -> float:
    """The share of the question's words that stand in the sentence or in the title and heading above it."""
    passage = candidate.found.passage
    context = f"{passage.title} {passage.heading} {candidate.quote}"
    return len(wanted & {stem(word) for word, _, _ in words(context)}) / max(1, len(wanted))


def _citation(candidate: _Candidate) -> Citation:
    passage = candidate.found.passage
    return Citation(
        document_id=passage.document_id,
        version=passage.version,
        start=candidate.start,
        end=candidate.end,
        sha256=sha256_hex(candidate.quote),
        quote=candidate.quote,
        title=passage.title,
    )


def _folded(quote: str) -> str:
    """On one line: line breaks inside a sentence are the source's layout, not part of what it says."""
    return " ".join(quote.split())
