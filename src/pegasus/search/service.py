"""Find passages by their words, by their meaning and through the graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum

import structlog

from pegasus import metrics, tracing
from pegasus.domain import Filters, FoundPassage, Passage
from pegasus.errors import Invalid, Unavailable
from pegasus.ingestion import service as ingestion
from pegasus.ports import GraphStore, RelationalStore, Transaction, Vector, VectorStore
from pegasus.search.fusion import Ranking, fuse, literalness, ranks
from pegasus.search.questions import Questions
from pegasus.text.entities import query_keys
from pegasus.text.words import content_words, stem
from pegasus.time_limits import LimitedCalls

log = structlog.get_logger(__name__)


class Mode(StrEnum):
    HYBRID = "hybrid"
    LEXICAL = "lexical"
    SEMANTIC = "semantic"


MAX_QUERY_CHARACTERS = 4_000
MAX_LIMIT = 100
# How deep each side looks. Scores are scaled over this depth, so it also says how much the tail counts.
DEPTH = 200
_MAX_TERMS = 32
_GRAPH_DEPTH = 100
WEIGHTS: Mapping[str, float] = {"lexical": 0.3, "semantic": 0.7, "graph": 0.1}
# What a passage gets that has the query word for word; only the best by words can.
LITERAL_BONUS = 0.5
_LITERAL_CANDIDATES = 10
_SPARE = 20
# Up to so many passages a filter's exact scan is quicker than asking the vector index for ever more.
_EXACT_SCAN = 5_000
# On a full disk a query of the vector store may never come back.
_MEANING_SECONDS = 10.0
_MEANING_THREADS = 4
# The graph adds a little to what words and meaning have found: it is left out where it does not answer soon.
_GRAPH_SECONDS, _GRAPH_THREADS = 5.0, 4
_GRAPH_HINT = "The graph store may hang: see /ready."
_MEANING_HINT = "The vector store may hang: check the free space; if it lasts, restart Pegasus. Words are still found."


class SearchService:
    def __init__(
        self, relational: RelationalStore, vectors: VectorStore, graph: GraphStore, questions: Questions
    ) -> None:
        self._relational, self._vectors, self._graph, self._questions = relational, vectors, graph, questions
        self._calls = LimitedCalls("search", _MEANING_THREADS, _MEANING_SECONDS, _MEANING_HINT)
        self._graph_calls = LimitedCalls("search-graph", _GRAPH_THREADS, _GRAPH_SECONDS, _GRAPH_HINT)

    def check(self) -> None:
        """Raises ``TimedOut`` when searches by meaning all hang."""
        self._calls.check()

    def close(self) -> None:
        self._calls.close()
        self._graph_calls.close()

    def search(
        self, workspace_id: str, query: str, *, limit: int = 10, mode: Mode = Mode.HYBRID, filters: Filters = Filters()
    ) -> list[FoundPassage]:
        """The best passages first. Raises ``Invalid`` for an empty or overlong query, ``TimedOut`` if a store hangs."""
        query = _checked(query)
        terms = content_words(query, _MAX_TERMS)
        rankings: dict[str, Ranking] = {}
        # Meaning is compared on another thread while words are looked up here: both leave the interpreter free.
        meaning = self._calls.start(self._by_meaning, workspace_id, query, filters) if mode != Mode.LEXICAL else None
        with self._relational.read(workspace_id) as tx:
            if mode != Mode.SEMANTIC:
                with _stage("lexical"):
                    rankings["lexical"] = tx.search_words(workspace_id, terms, DEPTH, filters)
            entities = ingestion.entities_by_key(tx, workspace_id, query_keys(query)) if mode == Mode.HYBRID else {}
        # Outside of the block: who waits for other stores must not hold a reader that others may need.
        if mode == Mode.HYBRID:
            with _stage("graph"):
                graph = self._by_graph(workspace_id, [entity.id for entity in entities.values()])
        if meaning:
            rankings["semantic"] = self._calls.result(meaning)
        if mode == Mode.HYBRID:
            known = {id_ for side in ("lexical", "semantic") for id_, _ in rankings[side]}
            rankings["graph"] = [item for item in graph if item[0] in known]
        with _stage("assemble"), self._relational.read(workspace_id) as tx:
            return self._found(tx, workspace_id, query, rankings, limit)

    def _by_meaning(self, workspace_id: str, query: str, filters: Filters) -> Ranking:
        with _stage("semantic"):
            vector = self._questions.vector(workspace_id, query)
            if not filters:
                return self._vectors.query(workspace_id, vector, DEPTH)
            with self._relational.read(workspace_id) as tx:
                allowed = ingestion.filtered_passages(tx, workspace_id, filters)
                if len(allowed) <= _EXACT_SCAN:
                    return ingestion.most_similar(tx, vector, allowed, DEPTH)
            return self._widening(workspace_id, vector, set(allowed))

    def _widening(self, workspace_id: str, vector: Vector, allowed: set[str]) -> Ranking:
        """Ask for more and more neighbours until enough of them pass the filter, or there are no more."""
        depth = DEPTH * 2
        while True:
            nearest = self._vectors.query(workspace_id, vector, depth)
            passing = [item for item in nearest if item[0] in allowed][:DEPTH]
            if len(passing) >= DEPTH or len(nearest) < depth:
                return passing
            depth *= 4

    def _by_graph(self, workspace_id: str, entity_ids: Sequence[str]) -> Ranking:
        if not entity_ids:
            return []
        try:
            asked = self._graph_calls.start(self._graph.mentioning, workspace_id, entity_ids, _GRAPH_DEPTH)
            return [(id_, float(n)) for id_, n in self._graph_calls.result(asked)]
        except Unavailable as error:  # As on both sides of a weighing: without the lightest it still tells.
            log.warning("search.without_graph", error=error.detail)
            return []

    def _found(
        self, tx: Transaction, workspace_id: str, query: str, rankings: Mapping[str, Ranking], limit: int
    ) -> list[FoundPassage]:
        fused = fuse(rankings, WEIGHTS)
        literal = {id_ for id_, _ in rankings.get("lexical", ())[:_LITERAL_CANDIDATES]}
        # Derived stores may still name what the rows have lost a moment ago; a few more are asked for to make up.
        wanted = [id_ for n, (id_, _) in enumerate(fused) if n < limit + _SPARE or id_ in literal]
        passages = ingestion.passages(tx, workspace_id, wanted)
        scores = {id_: score for id_, score in fused if id_ in passages}
        for id_ in literal & scores.keys():
            scores[id_] += LITERAL_BONUS * literalness(query, _whole(passages[id_])) ** 2
        places, similarity = ranks(rankings), dict(rankings.get("semantic", ()))
        highlighter = Highlighter(query)
        return [
            FoundPassage(
                passages[id_],
                scores[id_],
                {name: place[id_] for name, place in places.items() if id_ in place},
                highlighter.spans(passages[id_]),
                similarity.get(id_),
            )
            for id_ in sorted(scores, key=lambda id_: -scores[id_])[:limit]
        ]


@contextmanager
def _stage(name: str) -> Iterator[None]:
    with metrics.timed(metrics.SEARCH_SECONDS.labels(name)), tracing.span(f"search.{name}"):
        yield


def _whole(passage: Passage) -> str:
    return f"{passage.title} {passage.heading} {passage.text}"


def _checked(query: str) -> str:
    query = query.replace("\0", " ").strip()
    if not any(character.isalnum() for character in query):
        raise Invalid("The query has no words.", hint="Ask with at least one word or number.")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise Invalid(f"The query has {len(query):,} characters; the limit is {MAX_QUERY_CHARACTERS:,}.")
    return query


class Highlighter:
    """Finds the words of a query, in whatever form, in passages."""

    def __init__(self, query: str) -> None:
        self._stems = {stem(term.casefold()) for term in content_words(query, _MAX_TERMS)}
        beginnings = "|".join(sorted(map(re.escape, self._stems)))
        # Only what begins like a wanted stem is looked at closer; most words do not.
        self._candidates = re.compile(rf"(?<![^\W_])(?:{beginnings})[^\W_]*", re.IGNORECASE)

    def spans(self, passage: Passage) -> list[tuple[int, int]]:
        """Spans in the document's text, in order."""
        return [
            (passage.start + match.start(), passage.start + match.end())
            for match in self._candidates.finditer(passage.text)
            if stem(match.group().casefold()) in self._stems
        ]
