"""A hundred thousand passages: does ingestion slow down, is search still quick, how does memory grow."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from bench.harness import Bench, Figure, Report, docstrings, in_child, opened, percentile, resident_mebibytes

_PASSAGES = 100_000
_STEP = 10_000
_BATCH = 500


def grow() -> dict[str, Any]:
    """Rate and memory after each tenth, then the milliseconds of searches; the hash embedder stands in for the model."""
    sentences = [s.strip() for d in docstrings() for s in d["text"].replace("\n", " ").split(". ") if len(s) > 30]
    random_ = random.Random(0)
    steps = []
    with opened(embedder="hash") as bench:
        for _ in range(_PASSAGES // _STEP):
            begun, cpu = time.perf_counter(), time.process_time()
            for documents in _documents(sentences, random_):
                bench.add(documents)
                bench.drain()
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
            steps.append({"wall": wall, "cpu": cpu, "resident": resident_mebibytes()})
        searches = [_search(bench, sentences, random_) for _ in range(220)][20:]
        with bench.app.relational.read() as tx:
            row = tx.one("SELECT count(*) AS n FROM passages")
        return {"steps": steps, "searches": searches, "passages": row["n"] if row else 0}


def _documents(sentences: Sequence[str], random_: random.Random) -> Iterator[list[dict[str, str]]]:
    """Documents of one passage each, of sentences that really were written, in chance order."""
    for _ in range(_STEP // _BATCH):
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
    steps = found["steps"]
    rate = steps[0]["cpu"] / steps[-1]["cpu"]
    p95 = percentile(found["searches"], 0.95)
    memory = [step["resident"] for step in steps]
    slopes = [(b - a) / (_STEP / 1000) for a, b in pairwise(memory)]
    plot = [[(n + 1) * _STEP, value] for n, value in enumerate(memory)]
    return Report([
        Figure(f"{found['passages']:,} passages: ingest rate of the last tenth over the first", f"{rate:.2f}", ">= .85",
               f"{_STEP / steps[-1]['cpu']:.0f} over {_STEP / steps[0]['cpu']:.0f} passages a CPU-second", rate >= 0.85),
        Figure("search p95 there", f"{p95:.1f} ms", "<= 60 ms",
               f"p50 {percentile(found['searches'], 0.5):.1f} ms; chroma alone 2.9 ms", p95 <= 60),
        Figure("memory there", f"{memory[-1]:.0f} MB", "linear, stated",
               f"{memory[0]:.0f} MB at {_STEP:,}; {min(slopes):.1f} to {max(slopes):.1f} MB more each 1,000", None),
    ], {"memory": plot})  # fmt: skip
