"""Full text in PostgreSQL: terms cut as SQLite's FTS5 does, vectors with a GIN index, relevance by rarity.

Each term of a workspace begins with the workspace's number, so that one index serves all workspaces, and neither a
match nor a count of one can show in another.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from psycopg.rows import DictRow

from pegasus.domain import Filters
from pegasus.errors import Invalid
from pegasus.identifiers import is_id
from pegasus.ports import Parameters
from pegasus.text.terms import terms as terms_of

# Is part of what the index is compared with: raise it when terms are cut otherwise, and every index counts as stale.
_VERSION = 1
_DIGEST = (
    f"md5(concat_ws(E'\\x1f', '{_VERSION}', {{p}}.title, {{p}}.heading, {{p}}.text, {{w}}.vector::text))"
)  # fmt: skip
# Words in a title (A) or a heading (B) say more about a passage than words in its text (D): {D, C, B, A}, as 1, 1.25
# and 1.5 in SQLite.
_WEIGHTS = "'{0.6667, 0, 0.8333, 1}'"
_TITLE, _HEADING, _TEXT = "A", "B", ""
# BM25's k1 and b. ts_rank saturates with the count of a term much as BM25 does; rarity and length are reckoned here.
_K1, _B = 1.2, 0.75
# As in SQLite: a term in more passages than this only ranks what others have found.
_COMMON, _VERY_COMMON, _ENOUGH = 3_000, 30_000, 50
_CHUNK = 500
# What PostgreSQL has room for: positions, and bytes of a vector (1,048,575, of which each term's entry takes some).
_MAX_POSITION, _MAX_BYTES = 16_383, 500_000


class PostgresWords(ABC):
    """The part of a transaction that is about words."""

    @abstractmethod
    def execute(self, sql: str, parameters: Parameters = {}) -> int: ...

    @abstractmethod
    def all(self, sql: str, parameters: Parameters = {}) -> list[DictRow]: ...

    @abstractmethod
    def each(self, sql: str, parameters: Parameters = {}) -> Iterator[DictRow]: ...

    @abstractmethod
    def one(self, sql: str, parameters: Parameters = {}) -> DictRow | None: ...

    def index_words(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        number = self._number(workspace_id)
        for first in range(0, len(passage_ids), _CHUNK):
            rows = self.all(
                "SELECT id, title, heading, text FROM passages WHERE id = ANY(:ids) AND workspace_id = :w",
                {"ids": list(passage_ids[first : first + _CHUNK]), "w": workspace_id},
            )
            self._index(workspace_id, number, rows)

    def _number(self, workspace_id: str) -> int:
        if not is_id(workspace_id):  # A restored row may say anything.
            raise Invalid(f"{workspace_id[:100]!r} is not the id of a workspace.")
        row = self.one(
            "INSERT INTO word_counts (workspace_id, passages, terms) VALUES (:w, 0, 0)"
            " ON CONFLICT (workspace_id) DO UPDATE SET passages = word_counts.passages RETURNING number",
            {"w": workspace_id},
        )
        return row["number"] if row else 0

    def _index(self, workspace_id: str, number: int, rows: Sequence[DictRow]) -> None:
        vectors = [_vector(number, row["title"], row["heading"], row["text"]) for row in rows]
        digest = _DIGEST.format(p="p", w="v")
        self.execute(
            f"INSERT INTO words (passage_id, workspace_id, digest, terms, vector) SELECT p.id, :w, {digest}, v.terms,"
            " v.vector FROM (SELECT id, terms, vector::tsvector AS vector FROM unnest(:ids::text[], :terms::bigint[],"
            " :vectors::text[]) u (id, terms, vector)) v JOIN passages p ON p.id = v.id",
            {
                "w": workspace_id,
                "ids": [row["id"] for row in rows],
                "terms": [length for _, length in vectors],
                "vectors": [vector for vector, _ in vectors],
            },
        )
        self._count(workspace_id, len(rows), sum(length for _, length in vectors))

    def _count(self, workspace_id: str, passages: int, terms: int) -> None:
        self.execute(
            "UPDATE word_counts SET passages = passages + :passages, terms = terms + :terms WHERE workspace_id = :w",
            {"passages": passages, "terms": terms, "w": workspace_id},
        )

    def unindex_words(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        gone = self.one(
            "WITH gone AS (DELETE FROM words WHERE passage_id = ANY(:ids) AND workspace_id = :w RETURNING terms)"
            " SELECT count(*) AS passages, coalesce(sum(terms), 0) AS terms FROM gone",
            {"ids": list(passage_ids), "w": workspace_id},
        )
        if gone and gone["passages"]:
            self._count(workspace_id, -gone["passages"], -gone["terms"])

    def search_phrase(self, workspace_id: str, words: Sequence[str], limit: int) -> list[str | None]:
        counts = self._counts(workspace_id)
        phrase = _phrase(counts["number"], " ".join(words)) if counts else ""
        if not phrase:
            return []
        rows = self.all(
            "SELECT p.id FROM (SELECT passage_id FROM words WHERE vector @@ :phrase::tsquery LIMIT :limit) w"
            " LEFT JOIN passages p ON p.id = w.passage_id",
            {"phrase": phrase, "limit": limit},
        )
        return [row["id"] for row in rows]

    def _counts(self, workspace_id: str) -> DictRow | None:
        return self.one("SELECT * FROM word_counts WHERE workspace_id = :w", {"w": workspace_id})

    def words_missing(self, workspace_id: str) -> list[str]:
        rows = self.all(
            "SELECT id FROM passages p WHERE workspace_id = :w"
            " AND NOT EXISTS (SELECT 1 FROM words w WHERE w.passage_id = p.id AND w.workspace_id = :w)",
            {"w": workspace_id},
        )
        return [row["id"] for row in rows]

    def words_agree(self, workspace_id: str) -> bool:
        differing = self.one(
            "SELECT 1 FROM (SELECT * FROM passages WHERE workspace_id = :w) p"
            " FULL JOIN (SELECT * FROM words WHERE workspace_id = :w) w ON w.passage_id = p.id"
            f" WHERE p.id IS NULL OR w.passage_id IS NULL OR w.digest <> {_DIGEST.format(p='p', w='w')} LIMIT 1",
            {"w": workspace_id},
        )
        miscounted = self.one(
            "SELECT 1 FROM word_counts c CROSS JOIN (SELECT count(*) AS n, coalesce(sum(terms), 0) AS of FROM words"
            " WHERE workspace_id = :w) w WHERE c.workspace_id = :w AND (c.passages <> w.n OR c.terms <> w.of)",
            {"w": workspace_id},
        )
        return differing is None and miscounted is None

    def rebuild_words(self, workspace_id: str) -> None:
        self.drop_words(workspace_id)
        rows = self.each("SELECT id FROM passages WHERE workspace_id = :w ORDER BY seq", {"w": workspace_id})
        self.index_words(workspace_id, [row["id"] for row in rows])

    def drop_words(self, workspace_id: str) -> None:
        for table in ("words", "word_counts"):
            self.execute(f"DELETE FROM {table} WHERE workspace_id = :w", {"w": workspace_id})

    def search_words(
        self, workspace_id: str, terms: Sequence[str], limit: int, filters: Filters
    ) -> list[tuple[str, float]]:
        counts = self._counts(workspace_id)
        phrases = (
            list(dict.fromkeys(filter(None, (_phrase(counts["number"], term) for term in terms)))) if counts else []
        )
        if not counts or not phrases:
            return []
        found = self._matches_up_to(phrases, _COMMON)
        condition, parameters = _filter_condition(workspace_id, filters)
        average = max(1.0, counts["terms"] / max(1, counts["passages"]))

        def ranked(match: str) -> list[tuple[str, float]]:
            # Of a term in very many passages it is enough to know that it says little.
            score = " + ".join(
                f"{_rarity(found[phrase], counts['passages']):.6f} * ts_rank({_WEIGHTS}, vector, :q{n}::tsquery)"
                for n, phrase in enumerate(phrases)
            )
            length = f"{1 + _K1 * (1 - _B):.6f} + {_K1 * _B / average:.9f} * terms"
            rows = self.all(
                f"SELECT p.id, w.score FROM (SELECT passage_id, ({score}) * {1 + _K1} / ({length}) AS score FROM words"
                f" WHERE vector @@ :match::tsquery {condition} ORDER BY score DESC, passage_id LIMIT :limit) w"
                " JOIN passages p ON p.id = w.passage_id ORDER BY w.score DESC, p.id",
                {"match": match, "limit": limit, **parameters, **{f"q{n}": q for n, q in enumerate(phrases)}},
            )
            return [(row["id"], row["score"]) for row in rows]

        rare = [phrase for phrase in phrases if found[phrase] <= _COMMON]
        if len(rare) == len(phrases):
            return ranked(_any_of(phrases))
        if rare:
            return ranked(_any_of(rare))
        best = ranked(" & ".join(f"({phrase})" for phrase in phrases))
        if len(best) >= min(limit, _ENOUGH):
            return best
        found = self._matches_up_to(phrases, _VERY_COMMON)
        return ranked(_any_of(sorted(phrases, key=lambda phrase: found[phrase])[:2]))

    def _matches_up_to(self, phrases: Sequence[str], most: int) -> dict[str, int]:
        """How many passages have each of the phrases, counted no further than ``most + 1``."""
        counts = ", ".join(
            f"(SELECT count(*) FROM (SELECT 1 FROM words WHERE vector @@ :q{n}::tsquery LIMIT {most + 1}) f{n}) AS n{n}"
            for n in range(len(phrases))
        )
        row = self.one(f"SELECT {counts}", {f"q{n}": phrase for n, phrase in enumerate(phrases)})
        return {phrase: row[f"n{n}"] for n, phrase in enumerate(phrases)} if row else {}


def _vector(number: int, title: str, heading: str, text: str) -> tuple[str, int]:
    """A passage as PostgreSQL writes a ``tsvector``, and how many terms it has."""
    places: dict[str, list[str]] = {}
    position = length = size = 0
    for label, content in ((_TITLE, title), (_HEADING, heading), (_TEXT, text)):
        for term in terms_of(content):
            length, position = length + 1, position + 1
            if position > _MAX_POSITION or size > _MAX_BYTES:
                continue
            size += len(term.encode()) if term not in places else 0
            places.setdefault(term, []).append(f"{position}{label}")
        position += 1  # No phrase goes from one into the other.
    return " ".join(f"'{number}.{term}':{','.join(where)}" for term, where in places.items()), length


def _phrase(number: int, words: str) -> str:
    """The terms of some words one after the other, as PostgreSQL writes a ``tsquery``; empty where there are none."""
    return " <-> ".join(f"'{number}.{term}'" for term in terms_of(words))


def _any_of(phrases: Sequence[str]) -> str:
    return " | ".join(f"({phrase})" for phrase in phrases)


def _rarity(matches: int, passages: int) -> float:
    """BM25's inverse document frequency, in the form that is never negative."""
    return math.log(1 + (max(passages, matches) - matches + 0.5) / (matches + 0.5))


def _filter_condition(workspace_id: str, filters: Filters) -> tuple[str, Parameters]:
    if not filters:
        return "", {}
    clauses = ["d.workspace_id = :workspace_id"]
    parameters: dict[str, object] = {"workspace_id": workspace_id}
    if filters.tags:
        parameters["tags"] = list(filters.tags)
        clauses.append(
            "d.id IN (SELECT document_id FROM document_tags WHERE workspace_id = :workspace_id AND tag = ANY(:tags))"
        )
    if filters.since is not None:
        clauses.append("d.created_at >= :since")
        parameters["since"] = filters.since
    if filters.until is not None:
        clauses.append("d.created_at < :until")
        parameters["until"] = filters.until
    inner = f"SELECT f.id FROM passages f JOIN documents d ON d.id = f.document_id WHERE {' AND '.join(clauses)}"
    return f"AND passage_id IN ({inner})", parameters
