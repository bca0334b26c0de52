"""Whether the stores agree, at a hundred thousand passages: against reading each store once, without a comparison.

A hash embedder stands in for the model, which the check does not use.
"""

from __future__ import annotations

import random
import tempfile
import time
from typing import Any

from bench.harness import Figure, Report, docstrings, in_child, opened, peak_mebibytes
from bench.scale import add, sentences_of

_PASSAGES = 100_000
# All that a check compares; what is left out (sessions, keys, jobs) it reads only where it is about documents.
_TABLES = ("documents", "document_versions", "passages", "passage_embeddings", "entities", "mentions", "links")


def fill(directory: str, passages: int) -> None:
    with opened(directory, embedder="hash") as bench:
        add(bench, passages, sentences_of(docstrings()), random.Random(0))


def read_once(directory: str) -> dict[str, float]:
    """CPU-seconds to get everything out of each store, through the same interfaces, and do nothing with it."""
    with opened(directory, embedder="hash") as bench:
        begun, wall = time.process_time(), time.perf_counter()
        with bench.app.relational.read() as tx:
            for table in _TABLES:
                for _ in tx.each(f"SELECT * FROM {table}"):
                    pass
            words = f"words_{bench.workspace_id.replace('-', '')}"
            for _ in tx.each(f"SELECT * FROM {words}_data"):
                pass
        check = bench.app.integrity._new_check()
        for _ in check.vectors.pages(bench.workspace_id):
            pass
        for _ in check.graph.facts(bench.workspace_id):
            pass
        for label in ("Document", "Passage", "Entity"):
            for _ in check.graph.node_ids(bench.workspace_id, label):
                pass
        return {"cpu": time.process_time() - begun, "wall": time.perf_counter() - wall}


def check(directory: str) -> dict[str, Any]:
    with opened(directory, embedder="hash") as bench:
        begun, wall = time.process_time(), time.perf_counter()
        report = bench.app.integrity.check()
        return {
            "cpu": time.process_time() - begun,
            "wall": time.perf_counter() - wall,
            "peak": peak_mebibytes(),
            "consistent": report.consistent,
            "checked": dict(report.checked),
        }


def measure(passages: int = _PASSAGES) -> Report:
    if not docstrings():
        return Report([Figure("integrity", "not run: ../shared/bench is not here", "", "", None)])
    with tempfile.TemporaryDirectory(prefix="pegasus-bench-") as directory:
        in_child(fill, directory, passages)
        reading = in_child(read_once, directory)
        found = in_child(check, directory)
    ratio = found["cpu"] / reading["cpu"]
    compared = ", ".join(f"{n:,} {name}" for name, n in found["checked"].items())
    return Report(
        [
            Figure(
                f"pegasus check of {passages:,} passages, CPU over reading the stores once", f"{ratio:.2f}", "<= 2",
                f"{found['cpu']:.1f} over {reading['cpu']:.1f} CPU-s; wall {found['wall']:.1f} over"
                f" {reading['wall']:.1f} s; {compared}",
                ratio <= 2 and found["consistent"],
            ),
            Figure("its peak memory, the whole process", f"{found['peak']:.0f} MB", "<= 500 MB", "", found["peak"] <= 500),
        ]
    )  # fmt: skip
