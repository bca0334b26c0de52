"""Is a backup quick to make, is restoring it much quicker than reading everything in again, are the answers the same.

The passages are those of ``scale``. The hash embedder stands in for the model, which would take an hour: what the model
adds is measured on the first thousands and added for each passage. Restoring needs no model.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import DOCSTRINGS, Bench, Figure, Report, docstrings, in_child, opened, peak_mebibytes, read_lines
from bench.scale import documents_of, sentences_of
from pegasus import bootstrap
from pegasus.integrity.backup import back_up
from pegasus.integrity.encryption import Key, unlock
from pegasus.integrity.restore import check
from pegasus.settings import load_settings

_PASSAGES = int(os.environ.get("PEGASUS_BENCH_PASSAGES", "100000"))
_WITH_MODEL = min(2_000, _PASSAGES)
_QUESTIONS = 200


def ingest(folder: str, count: int, embedder: str) -> dict[str, Any]:
    """Seconds to read so many passages in, and what is then found and answered."""
    with opened(folder, embedder=embedder, embed_threads=1) as bench:
        begun = time.perf_counter()
        for documents in documents_of(count, sentences_of(), random.Random(0)):
            bench.add(documents)
            bench.drain()
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "answers": _answers(bench)}


def _answers(bench: Bench) -> list[str]:
    """All that a caller gets to see of each question's passages and answer."""
    questions = [line["q"] for line in read_lines(DOCSTRINGS / "queries.jsonl")][:_QUESTIONS]
    return [
        json.dumps([
            [repr(found) for found in bench.app.search.search(bench.workspace_id, question)],
            repr(bench.app.chat.ask(bench.workspace_id, question)),
        ])
        for question in questions
    ]  # fmt: skip


def save(folder: str, file: str) -> dict[str, float]:
    with bootstrap.truth(Path(folder)) as (relational, files):
        made = back_up(relational, files, Path(file), progress=_silent)
    return {"seconds": made.seconds, "bytes": made.size_bytes, "peak": peak_mebibytes()}


def bring_back(folder: str, file: str) -> dict[str, Any]:
    settings = load_settings(data=folder, embedder="hash")
    begun = time.perf_counter()
    archive = unlock(Path(file), Key())
    restored = bootstrap.restore(settings, archive, check(archive, _silent), _silent)
    return {"seconds": time.perf_counter() - begun, "steps": restored.seconds, "peak": peak_mebibytes()}


def answers(folder: str) -> list[str]:
    with opened(folder, embedder="hash") as bench:
        return _answers(bench)


def _silent(what: str, done: int, total: int) -> None:
    """A benchmark shows no progress."""


def measure() -> Report:
    if not docstrings():
        return Report([Figure("restore", "not run: ../shared/bench is not here", "", "", None)])
    with tempfile.TemporaryDirectory(prefix="pegasus-bench-") as folder:
        file = f"{folder}/archive"
        first = {
            name: in_child(ingest, f"{folder}/{name}", _WITH_MODEL, name)["seconds"] for name in ("minilm", "hash")
        }
        whole = in_child(ingest, f"{folder}/data", _PASSAGES, "hash")
        saved = in_child(save, f"{folder}/data", file)
        back = in_child(bring_back, f"{folder}/restored", file)
        after = in_child(answers, f"{folder}/restored")
    with_model = whole["seconds"] + (first["minilm"] - first["hash"]) / _WITH_MODEL * _PASSAGES
    ratio = with_model / back["seconds"]
    same = sum(a == b for a, b in zip(whole["answers"], after, strict=True))
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in back["steps"].items())
    return Report([
        Figure(f"backup of {_PASSAGES:,} passages", f"{saved['seconds']:.1f} s", "stated",
               f"{saved['bytes'] / 2**20:.0f} MiB, peak memory {saved['peak']:.0f} MB", None),
        Figure(f"reading in {_PASSAGES:,} passages again, over restoring them", f"{ratio:.1f}", ">= 3",
               f"{with_model:.0f} over {back['seconds']:.1f} s; without the model {whole['seconds']:.0f} s", ratio >= 3),
        Figure("restoring, by step", f"{back['seconds']:.1f} s", "stated", f"{steps}; peak memory {back['peak']:.0f} MB", None),
        Figure("questions with the same passages, scores, answer and citations afterwards", f"{same} of {len(after)}",
               "all", "", same == len(after)),
    ])  # fmt: skip
