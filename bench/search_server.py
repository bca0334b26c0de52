"""Search on the server tier at 100,000 passages: what it costs over its parts, and how it holds under eight callers."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.harness import DOCSTRINGS, Bench, Figure, Report, docstrings, in_child, opened, percentile, read_lines
from bench.load import load, request_of
from bench.scale import sentences_of
from pegasus.adapters.minilm import MiniLmEmbedder
from pegasus.bootstrap import local_access
from pegasus.domain import Filters
from pegasus.server import serving_in_background
from pegasus.telemetry import configure_logging
from pegasus.text.words import content_words
from tests import postgresql, servers

_PASSAGES = 100_000
_TOP, _QUERIES, _WARM = 10, 200, 20
_CLIENTS, _REQUESTS = 8, 400
_BOOK_CHARACTERS, _PASSAGE_CHARACTERS = 400_000, 900


def compare(passages: int) -> dict[str, Any]:
    """Milliseconds of a search over HTTP and of its three parts alone, query by query, in turns."""
    configure_logging("warning", "text")
    random_ = random.Random(0)
    with (
        tempfile.TemporaryDirectory(prefix="pegasus-bench-") as folder,
        postgresql.running() as rows,
        servers.chroma_server(Path(folder, "chroma")) as chroma,
    ):
        given = {"database_url": rows.url(rows.create()), "vectors_url": chroma.url, "rate_limit": "1000000/second"}
        data = str(Path(folder, "data"))
        with opened(data, embedder="hash", **given) as bench:
            _fill(bench, passages, sentences_of(docstrings()), random_)
        with opened(data, embed_threads=1, **given) as bench:
            _settle(bench)
            return _measured(bench, _count(bench))


def _fill(bench: Bench, passages: int, sentences: Sequence[str], random_: random.Random) -> None:
    """In books, as what is searched is passages: of a hundred thousand notes each would take a dozen statements."""
    while _count(bench) < passages:
        missing = min(_BOOK_CHARACTERS, (passages - _count(bench)) * _PASSAGE_CHARACTERS)
        text, length = [], 0
        while length < missing:
            text.append(random_.choice(sentences))
            length += len(text[-1]) + 2
        bench.add([{"title": f"Book {random_.random():.12f}", "text": ". ".join(text)}])
        bench.drain()


def _count(bench: Bench) -> int:
    with bench.app.relational.read() as tx:
        row = tx.one("SELECT count(*) AS n FROM passages")
    return row["n"] if row else 0


def _settle(bench: Bench) -> None:
    """What autovacuum does within a minute of a large import."""
    bench.app.relational.compact()


def _measured(bench: Bench, passages: int) -> dict[str, Any]:
    queries = [line["q"] for line in read_lines(DOCSTRINGS / "queries.jsonl")][: _QUERIES + _WARM]
    key = local_access(bench.app, bench.app.settings.data).key
    alone: list[float] = []
    ours: list[float] = []
    parts: dict[str, list[float]] = {"embed": [], "vectors": [], "words": []}
    with serving_in_background(bench.app) as address:
        port = int(address.rpartition(":")[2])
        connection = HTTPConnection("127.0.0.1", port)
        for query in queries:
            took = _parts(bench, query)
            for name, milliseconds in took.items():
                parts[name].append(milliseconds)
            alone.append(sum(took.values()))
            ours.append(_searched(connection, key, query))
        connection.close()
        together = load(port, [_request(key, query) for query in queries], connections=_CLIENTS, count=_REQUESTS)
    return {
        "passages": passages,
        "ours": ours[_WARM:], "alone": alone[_WARM:], "together": together.milliseconds, "statuses": together.statuses,
        "parts": {name: statistics.median(values[_WARM:]) for name, values in parts.items()},
    }  # fmt: skip


def _parts(bench: Bench, query: str) -> dict[str, float]:
    search: Any = bench.app.search
    embedder: MiniLmEmbedder = search._embedder
    times = [time.perf_counter()]
    vector = embedder.embed([query])[0]
    times.append(time.perf_counter())
    search._vectors.query(bench.workspace_id, vector, _TOP)
    times.append(time.perf_counter())
    with bench.app.relational.read(bench.workspace_id) as tx:
        tx.search_words(bench.workspace_id, content_words(query, 32), _TOP, Filters())
    times.append(time.perf_counter())
    embed, vectors, words = ((after - before) * 1000 for before, after in pairwise(times))
    return {"embed": embed, "vectors": vectors, "words": words}


def _searched(connection: HTTPConnection, key: str, query: str) -> float:
    begun = time.perf_counter()
    body = json.dumps({"query": query, "limit": _TOP})
    connection.request("POST", "/v1/search", body, {"X-API-Key": key, "Content-Type": "application/json"})
    with connection.getresponse() as answer:
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a search was answered with {answer.status}")
    return (time.perf_counter() - begun) * 1000


def _request(key: str, query: str) -> bytes:
    return request_of("POST", "/v1/search", key, {"query": query, "limit": _TOP})


def measure() -> Report:
    if not docstrings():
        return Report([Figure("search on the server tier", "not run: ../shared/bench is not here", "", "", None)])
    found = in_child(compare, _PASSAGES)
    ours, alone = statistics.median(found["ours"]), statistics.median(found["alone"])
    ratio = ours / alone
    parts = ", ".join(f"{name} {value:.1f}" for name, value in found["parts"].items())
    together = found["together"]
    return Report([
        Figure(
            f"POST /v1/search at {found['passages']:,} passages, p50 over embed + Chroma + tsvector alone", f"{ratio:.2f}",
            "<= 1.3", f"{ours:.1f} over {alone:.1f} ms ({parts}); p95 {percentile(found['ours'], 0.95):.1f} over"
            f" {percentile(found['alone'], 0.95):.1f}", ratio <= 1.3,
        ),
        Figure(
            f"the same from {_CLIENTS} clients at a time, p99", f"{percentile(together, 0.99):.0f} ms", "stated",
            f"p50 {statistics.median(together):.0f} ms; {dict(found['statuses'])}", None,
        ),
    ])  # fmt: skip
