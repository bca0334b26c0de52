"""Is a backup quick to make, is restoring it much quicker than reading everything in again, are the answers the same.

The passages are those of ``scale``. The hash embedder stands in for the model, which would take an hour: what the model
adds is measured on the first thousands and added for each passage. Restoring needs no model.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import DOCSTRINGS, Figure, Report, docstrings, in_child, opened, peak_mebibytes, read_lines
from bench.scale import documents_of, sentences_of
from pegasus import bootstrap
from pegasus.integrity.backup import back_up
from pegasus.integrity.encryption import Key, unlock
from pegasus.integrity.restore import check
from pegasus.settings import load_settings

_PASSAGES = int(os.environ.get("PEGASUS_BENCH_PASSAGES", "100000"))
_WITH_MODEL = min(2_000, _PASSAGES)


def ingest(folder: str, count: int, embedder: str) -> float:
    """Seconds to read so many passages in."""
    with opened(folder, embedder=embedder, embed_threads=1) as bench:
        begun = time.perf_counter()
        for documents in documents_of(count, sentences_of(docstrings()), random.Random(0)):
            bench.add(documents)
            bench.drain()
        return time.perf_counter() - begun


def add_docstrings(folder: str) -> None:
    with opened(folder, embed_threads=1) as bench:
        bench.add([{"title": d["title"], "text": d["text"], "uri": d["id"]} for d in docstrings()])
        bench.drain()


def answers(folder: str) -> list[tuple[str, str, str]]:
    """For each question its answer with citations, the passages that are found, and these with their scores."""
    questions = [line["q"] for line in read_lines(DOCSTRINGS / "queries.jsonl")]
    told = []
    with opened(folder, embed_threads=1) as bench:
        for question in questions:
            found = bench.app.search.search(bench.workspace_id, question)
            answer = bench.app.chat.ask(bench.workspace_id, question)
            cited = repr((answer.text, answer.citations, answer.found))
            told.append((cited, repr([one.passage for one in found]), repr(found)))
    return told


def same(before: list[list[str]], after: list[list[str]]) -> list[int]:
    """How many questions have the same answer, the same passages, the same passages and scores."""
    return [sum(one[n] == other[n] for one, other in zip(before, after, strict=True)) for n in range(3)]


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


def _silent(what: str, done: int, total: int) -> None:
    """A benchmark shows no progress."""


def measure() -> Report:
    if not docstrings():
        return Report([Figure("restore", "not run: ../shared/bench is not here", "", "", None)])
    with tempfile.TemporaryDirectory(prefix="pegasus-bench-") as folder:
        data, restored, file = f"{folder}/data", f"{folder}/restored", f"{folder}/archive"
        first = {name: in_child(ingest, f"{folder}/{name}", _WITH_MODEL, name) for name in ("minilm", "hash")}
        whole = in_child(ingest, data, _PASSAGES, "hash")
        saved = in_child(save, data, file)
        back = in_child(bring_back, restored, file)
        in_child(add_docstrings, data)
        in_child(save, data, f"{file}-2")
        in_child(bring_back, f"{restored}-2", f"{file}-2")
        before, reopened = in_child(answers, data), same(in_child(answers, data), in_child(answers, data))
        after = same(before, in_child(answers, f"{restored}-2"))
    with_model = whole + (first["minilm"] - first["hash"]) / _WITH_MODEL * _PASSAGES
    ratio = with_model / back["seconds"]
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in back["steps"].items())
    return Report([
        Figure(f"backup of {_PASSAGES:,} passages", f"{saved['seconds']:.1f} s", "stated",
               f"{saved['bytes'] / 2**20:.0f} MiB, peak memory {saved['peak']:.0f} MB", None),
        Figure(f"reading {_PASSAGES:,} passages in again, over restoring them", f"{ratio:.1f}", ">= 3",
               f"{with_model:.0f} over {back['seconds']:.1f} s; without the model {whole:.0f} s", ratio >= 3),
        Figure("restoring, by step", f"{back['seconds']:.1f} s", "stated", f"{steps}; peak memory {back['peak']:.0f} MB", None),
        Figure("answers with citations that are the same to the byte", f"{after[0]} of {len(before)}", "all",
               f"after a mere restart {reopened[0]}", after[0] == len(before)),
        Figure("the same passages found in the same order / with the same scores", f"{after[1]} / {after[2]}", "stated",
               f"after a mere restart {reopened[1]} / {reopened[2]}: the vector index is approximate", None),
    ])  # fmt: skip
