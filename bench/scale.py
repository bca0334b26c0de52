"""A hundred thousand passages: does ingestion slow down, is search still quick, how does memory grow.

The model embeds the first and the last thousands, whose rates are compared; in between a hash embedder stands in for
it, because embedding them all takes an hour. The rate of the stores alone is that of the passages in between.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from bench.harness import Bench, Figure, Report, docstrings, in_child, opened, percentile, resident_mebibytes

_PASSAGES = 100_000
_WITH_MODEL = 2_000
_STEP = 12_000  # Eight of them lie between the two ends.
_BATCH = 500


def grow() -> dict[str, Any]:
    """CPU-seconds a passage with the model at both ends and of each step between, memory, and milliseconds a search."""
    sentences, random_ = sentences_of(docstrings()), random.Random(0)
    with tempfile.TemporaryDirectory(prefix="pegasus-bench-") as directory:
        with opened(directory, embed_threads=1) as bench:
            first = add(bench, _WITH_MODEL, sentences, random_)
        with opened(directory, embedder="hash") as bench:
            steps = [
                {"cpu": add(bench, _STEP, sentences, random_), "resident": resident_mebibytes()}
                for _ in range((_PASSAGES - 2 * _WITH_MODEL) // _STEP)
            ]
        with opened(directory, embed_threads=1) as bench:
            last = add(bench, _WITH_MODEL, sentences, random_)
            searches = [_search(bench, sentences, random_) for _ in range(220)][20:]
            with bench.app.relational.read() as tx:
                row = tx.one("SELECT count(*) AS n FROM passages")
    return {"first": first, "last": last, "steps": steps, "searches": searches, "passages": row["n"] if row else 0}


def sentences_of(documents: Sequence[dict[str, Any]]) -> list[str]:
    return [s.strip() for d in documents for s in d["text"].replace("\n", " ").split(". ") if len(s) > 30]


def add(bench: Bench, count: int, sentences: Sequence[str], random_: random.Random) -> float:
    """CPU-seconds a passage to take in so many documents of one passage each, and to index them."""
    begun = time.process_time()
    for documents in documents_of(count, sentences, random_):
        bench.add(documents)
        bench.drain()
    return (time.process_time() - begun) / count


def documents_of(count: int, sentences: Sequence[str], random_: random.Random) -> Iterator[list[dict[str, str]]]:
    """Documents of one passage each, of sentences that really were written, in chance order."""
    for _ in range(count // _BATCH):
        yield [
            {"title": f"Note {random_.random():.12f}", "text": ". ".join(random_.choices(sentences, k=5))[:880]}
            for _ in range(_BATCH)
        ]


def _search(bench: Bench, sentences: Sequence[str], random_: random.Random) -> float:
    words = random_.choice(sentences).split()
    query = " ".join(random_.sample(words, min(6, len(words))))
    begun = time.perf_counter()
    bench.app.search.search(bench.workspace_id, query, limit=10)
    return (time.perf_counter() - begun) * 1000


def measure() -> Report:
    if not docstrings():
        return Report([Figure("100,000 passages", "not run: ../shared/bench is not here", "", "", None)])
    found = in_child(grow)
    rate = found["first"] / found["last"]
    stores = [step["cpu"] * 1000 for step in found["steps"]]
    p95 = percentile(found["searches"], 0.95)
    memory = [step["resident"] for step in found["steps"]]
    slopes = [(b - a) / (_STEP / 1000) for a, b in pairwise(memory)]
    plot = [[(n + 1) * _STEP, value] for n, value in enumerate(memory)]
    return Report(
        [
            Figure(
                f"{found['passages']:,} passages: ingest rate of the last {_WITH_MODEL:,} over the first, with the model",
                f"{rate:.2f}", ">= .85",
                f"{1 / found['last']:.0f} over {1 / found['first']:.0f} passages a CPU-second", rate >= 0.85,
            ),
            Figure(
                "the same of the stores alone, last step between over the first", f"{stores[0] / stores[-1]:.2f}",
                "stated", f"{stores[-1]:.2f} over {stores[0]:.2f} CPU-ms a passage; Chroma's index grows dearer", None,
            ),
            Figure("search p95 there", f"{p95:.1f} ms", "<= 60 ms",
                   f"p50 {percentile(found['searches'], 0.5):.1f} ms; chroma alone 2.9 ms", p95 <= 60),
            Figure("memory there", f"{memory[-1]:.0f} MB", "linear, stated",
                   f"{memory[0]:.0f} MB at {_STEP:,}; {min(slopes):.1f} to {max(slopes):.1f} MB more each 1,000", None),
        ],
        {"memory": plot},
    )  # fmt: skip
