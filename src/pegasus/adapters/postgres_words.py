"""Full text in PostgreSQL: terms cut as SQLite's FTS5 does, vectors with a GIN index, relevance by rarity.

Each term of a workspace begins with the workspace's number, so that one index serves all workspaces, and neither a
match nor a count of one can show in another.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate

from psycopg.rows import DictRow

from pegasus.domain import Filters
from pegasus.errors import Invalid
from pegasus.filtering import passages_of
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
# Passages that are ranked are those with the rarest terms, as many as come to so many; the other terms only rank what
# these have found. Where all are common, passages that have them all will do, or such as have one of the two rarest.
_RANKED, _ENOUGH = 3_000, 50
# Terms that are about as rare are ranked together: each call of ts_rank costs some microseconds a passage.
_RARITIES = 4
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
        if not is_id(workspace_id):  # A restored row may say anything.
            raise Invalid(f"{workspace_id[:100]!r} is not the id of a workspace.")
        for first in range(0, len(passage_ids), _CHUNK):
            rows = self.all(
                "SELECT p.id, p.title, p.heading, p.text, c.number FROM passages p"
                " LEFT JOIN word_counts c ON c.workspace_id = p.workspace_id"
                " WHERE p.id = ANY(:ids) AND p.workspace_id = :w",
                {"ids": list(passage_ids[first : first + _CHUNK]), "w": workspace_id},
            )
            if rows:
                number = rows[0]["number"]
                self._index(workspace_id, self._new_number(workspace_id) if number is None else number, rows)

    def _new_number(self, workspace_id: str) -> int:
        (row,) = self.all(
            "INSERT INTO word_counts (workspace_id, passages, terms) VALUES (:w, 0, 0) RETURNING number",
            {"w": workspace_id},
        )
        return int(row["number"])

    def _index(self, workspace_id: str, number: int, rows: Sequence[DictRow]) -> None:
        vectors = [_vector(number, row["title"], row["heading"], row["text"]) for row in rows]
        digest = _DIGEST.format(p="p", w="v")
        # One statement, for one way to the server and back: every document comes by here.
        self.execute(
            "WITH made AS (INSERT INTO words (passage_id, workspace_id, digest, terms, vector)"
            f" SELECT p.id, :w, {digest}, v.terms, v.vector FROM (SELECT id, terms, vector::tsvector AS vector FROM"
            " unnest(:ids::text[], :terms::bigint[], :vectors::text[]) u (id, terms, vector)) v"
            " JOIN passages p ON p.id = v.id RETURNING vector), counted AS (UPDATE word_counts"
            " SET passages = passages + :more, terms = terms + :more_terms WHERE workspace_id = :w)"
            " INSERT INTO word_frequencies (term, passages)"
            " SELECT lexeme, count(*) FROM made CROSS JOIN unnest(made.vector) GROUP BY lexeme"
            " ON CONFLICT (term) DO UPDATE SET passages = word_frequencies.passages + excluded.passages",
            {
                "w": workspace_id,
                "ids": [row["id"] for row in rows],
                "terms": [length for _, length in vectors],
                "vectors": [vector for vector, _ in vectors],
                "more": len(rows),
                "more_terms": sum(length for _, length in vectors),
            },
        )

    def unindex_words(self, workspace_id: str, passage_ids: Sequence[str]) -> None:
        gone = self.all(
            "DELETE FROM words WHERE passage_id = ANY(:ids) AND workspace_id = :w"
            " RETURNING terms, tsvector_to_array(vector) AS found",
            {"ids": list(passage_ids), "w": workspace_id},
        )
        if not gone:
            return
        fewer = Counter(term for row in gone for term in row["found"])
        self.execute(
            "UPDATE word_frequencies f SET passages = f.passages - u.n"
            " FROM unnest(:terms::text[], :counts::bigint[]) u (term, n) WHERE f.term = u.term",
            {"terms": list(fewer), "counts": list(fewer.values())},
        )
        self.execute("DELETE FROM word_frequencies WHERE term = ANY(:terms) AND passages = 0", {"terms": list(fewer)})
        self.execute(
            "UPDATE word_counts SET passages = passages - :fewer, terms = terms - :fewer_terms WHERE workspace_id = :w",
            {"fewer": len(gone), "fewer_terms": sum(row["terms"] for row in gone), "w": workspace_id},
        )

    def search_phrase(self, workspace_id: str, words: Sequence[str], limit: int) -> list[str | None]:
        counts = self._counts(workspace_id)
        phrase = _numbered(counts["number"], " ".join(words)) if counts else []
        if not phrase:
            return []
        rows = self.all(
            "SELECT p.id FROM (SELECT passage_id FROM words WHERE vector @@ :phrase::tsquery LIMIT :limit) w"
            " LEFT JOIN passages p ON p.id = w.passage_id",
            {"phrase": _query(phrase), "limit": limit},
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
        if differing or miscounted:
            return False
        wrong = self.one(
            "SELECT 1 FROM (SELECT lexeme, count(*) AS n FROM words w CROSS JOIN unnest(w.vector)"
            " WHERE w.workspace_id = :w GROUP BY lexeme) u FULL JOIN (SELECT f.* FROM word_frequencies f"
            " JOIN word_counts c ON f.term >= c.number || '.' AND f.term < c.number || '/' WHERE c.workspace_id = :w) f"
            " ON f.term = u.lexeme WHERE f.passages IS DISTINCT FROM u.n LIMIT 1",
            {"w": workspace_id},
        )
        return wrong is None

    def rebuild_words(self, workspace_id: str) -> None:
        self.drop_words(workspace_id)
        rows = self.each("SELECT id FROM passages WHERE workspace_id = :w ORDER BY seq", {"w": workspace_id})
        self.index_words(workspace_id, [row["id"] for row in rows])

    def drop_words(self, workspace_id: str) -> None:
        self.execute(  # All terms that begin with the number: a slash comes right after a dot.
            "DELETE FROM word_frequencies f USING word_counts c WHERE c.workspace_id = :w"
            " AND f.term >= c.number || '.' AND f.term < c.number || '/'",
            {"w": workspace_id},
        )
        for table in ("words", "word_counts"):
            self.execute(f"DELETE FROM {table} WHERE workspace_id = :w", {"w": workspace_id})

    def search_words(
        self, workspace_id: str, terms: Sequence[str], limit: int, filters: Filters
    ) -> list[tuple[str, float]]:
        counts = self._counts(workspace_id)
        if counts is None:
            return []
        # Each as the terms that stand one after the other: one, but for such words as snake_case.
        phrases = {tuple(_numbered(counts["number"], term)) for term in terms} - {()}
        matches = self._frequencies({term for phrase in phrases for term in phrase})
        # One of which a term is nowhere matches nothing.
        found = {phrase: min(matches.get(term, 0) for term in phrase) for phrase in phrases}
        rarest = sorted((phrase for phrase in phrases if found[phrase]), key=lambda phrase: (found[phrase], phrase))
        if not rarest:
            return []
        condition, parameters = _filter_condition(workspace_id, filters)
        score = _score(matches, counts["passages"], counts["terms"])

        def ranked(match: str) -> list[tuple[str, float]]:
            rows = self.all(
                f"SELECT p.id, w.score FROM (SELECT passage_id, {score} AS score FROM words"
                f" WHERE vector @@ :match::tsquery {condition} ORDER BY score DESC, passage_id LIMIT :limit) w"
                " JOIN passages p ON p.id = w.passage_id ORDER BY w.score DESC, p.id",
                {"match": match, "limit": limit, **parameters},
            )
            return [(row["id"], row["score"]) for row in rows]

        if found[rarest[0]] <= _RANKED:
            sums = accumulate(found[phrase] for phrase in rarest)
            return ranked(_any_of([phrase for phrase, sum_ in zip(rarest, sums, strict=True) if sum_ <= _RANKED]))
        best = ranked(" & ".join(map(_query, rarest)))
        return best if len(best) >= min(limit, _ENOUGH) else ranked(_any_of(rarest[:2]))

    def _frequencies(self, terms: Collection[str]) -> dict[str, int]:
        """In how many passages each of the terms is, without those that are in none."""
        rows = self.all(
            "SELECT term, passages FROM word_frequencies WHERE term = ANY(:terms)", {"terms": sorted(terms)}
        )
        return {row["term"]: row["passages"] for row in rows}


def _score(matches: Mapping[str, int], passages: int, all_terms: int) -> str:
    """BM25 of a row of ``words``, in SQL: how rare each term is, times how often it is there and in how long a text."""
    groups: dict[int, list[str]] = defaultdict(list)
    for term, n in matches.items():
        groups[round(_RARITIES * math.log(1 + (passages - n + 0.5) / (n + 0.5)))].append(term)
    # ts_rank gives the mean over its terms.
    parts = [
        f"{max(rarity, 0.5) / _RARITIES * len(terms):.3f} * ts_rank({_WEIGHTS}, vector, {_literal(terms)})"
        for rarity, terms in groups.items()
    ]
    average = max(1.0, all_terms / max(1, passages))
    return f"({' + '.join(parts)}) * {1 + _K1} / ({1 + _K1 * (1 - _B):.6f} + {_K1 * _B / average:.9f} * terms)"


def _literal(terms: Sequence[str]) -> str:
    """Any of some terms as a ``tsquery`` in SQL; terms are letters and digits, so nothing in them means anything."""
    return "'{}'::tsquery".format(" | ".join(f"''{term}''" for term in terms))


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


def _numbered(number: int, words: str) -> list[str]:
    """The terms of some words in order, as the index of a workspace has them."""
    return [f"{number}.{term}" for term in terms_of(words)]


def _query(phrase: Sequence[str]) -> str:
    """Terms one after the other, as PostgreSQL writes a ``tsquery``."""
    return "({})".format(" <-> ".join(f"'{term}'" for term in phrase))


def _any_of(phrases: Sequence[Sequence[str]]) -> str:
    return " | ".join(map(_query, phrases))


def _filter_condition(workspace_id: str, filters: Filters) -> tuple[str, Parameters]:
    if not filters:
        return "", {}
    passages, parameters = passages_of("id", workspace_id, filters)
    return f"AND passage_id IN ({passages})", parameters
