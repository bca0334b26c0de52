"""Ingest with two workers over one, beside what the machine itself makes of two processes that only embed."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from bench.harness import PROSE, ROOT, Figure, Report, cpu_seconds, read_lines
from bench.installation import Several, finished, installed
from pegasus.adapters.minilm import MiniLmEmbedder
from pegasus.client import Client

_NOTES, _WARM_NOTES, _ROUNDS, _WORKERS = 600, 16, 3, 2
_NOTE_CHARACTERS = 800
_MOST_SECONDS = 600
# Each process has a processor to itself, as each task has that runs one: more threads of one would take the other's.
_THREADS = 1


def embed_alone(seed: int) -> None:
    """Say ``ready``, wait for a line, embed as many notes as one worker gets, and say so."""
    embedder = MiniLmEmbedder(_THREADS)
    texts = [note["text"] for note in _notes(_NOTES // _WORKERS, seed)]
    embedder.embed(texts[:8])
    print("ready", flush=True)
    sys.stdin.readline()
    embedder.embed(texts)
    print("done", flush=True)


def _notes(count: int, seed: int) -> list[dict[str, Any]]:
    """Of sentences that people wrote, in chance order: no two are the same."""
    random_ = random.Random(seed)
    sentences = [s for line in read_lines(PROSE / "corpus.jsonl") for s in line["text"].split(". ") if len(s) > 30]
    return [
        {"title": f"Note {seed}-{n}", "text": ". ".join(random_.choices(sentences, k=8))[:_NOTE_CHARACTERS]}
        for n in range(count)
    ]


def _alone(processes: int, seed: int) -> float:
    """Notes a second that so many processes embed together."""
    call = "import sys; from bench.workers import embed_alone; embed_alone(int(sys.argv[1]))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", call, str(seed + number)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    try:
        for process in running:
            _heard(process, "ready")
        begun = time.perf_counter()
        for process in running:
            _tell(process)
        for process in running:
            _heard(process, "done")
        return processes * (_NOTES // _WORKERS) / (time.perf_counter() - begun)
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _heard(process: subprocess.Popen[str], word: str) -> None:
    if process.stdout is None or process.stdout.readline() != f"{word}\n":
        raise RuntimeError(f"a process that embeds did not say {word!r}")


def _tell(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.write("go\n")
        process.stdin.flush()


def _ingested(installation: Several, client: Client, workers: int, seed: int) -> tuple[float, float]:
    """(notes a second from the request to the last one's end, CPU-ms a note of the workers), with so many workers."""
    parts = installation.start(*["worker"] * workers)
    _import(client, _notes(_WARM_NOTES, seed + 1_000))  # The model is loaded, the connections are made.
    processes = [part.process.pid for part in parts if part.process]
    notes, before, begun = _notes(_NOTES, seed), sum(map(cpu_seconds, processes)), time.perf_counter()
    _import(client, notes)
    took, spent = time.perf_counter() - begun, sum(map(cpu_seconds, processes)) - before
    for part in parts:
        if part.end():
            raise RuntimeError(f"a worker ended badly:\n{part.log[-2000:]}")
    return len(notes) / took, spent / len(notes) * 1e3


def _import(client: Client, notes: Sequence[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(note) + "\n" for note in notes)
    job = client.call("POST", "/v1/documents/batch", content=lines.encode())["job"]
    found = finished(client, job["id"], _MOST_SECONDS)
    if found["result"] != {"items": len(notes), "failed": 0}:
        raise RuntimeError(f"not all were taken in: {found}")


def compare() -> dict[str, list[tuple[float, float]]]:
    """Of each number of workers what ``_ingested`` gives in each round, and of as many processes that only embed."""
    found: dict[str, list[tuple[float, float]]] = {"1": [], "2": [], "alone": []}
    with installed(PEGASUS_EMBEDDER="minilm", PEGASUS_EMBED_THREADS=str(_THREADS)) as installation:
        api, _ = installation.start("api", "scheduler")
        client = api.client()
        for round_ in range(_ROUNDS):
            for workers in (1, _WORKERS):
                found[str(workers)].append(_ingested(installation, client, workers, 10 * round_ + workers))
            found["alone"].append((_alone(1, round_), _alone(_WORKERS, round_)))
    return found


def measure() -> Report:
    found = compare()
    ratios = [two[0] / one[0] for one, two in zip(found["1"], found[str(_WORKERS)], strict=True)]
    floors = [two / one for one, two in found["alone"]]
    ratio, floor, cores = statistics.median(ratios), statistics.median(floors), os.cpu_count() or 1
    one, two = (statistics.median(rate for rate, _ in found[workers]) for workers in ("1", str(_WORKERS)))
    dear = statistics.median(cpu for _, cpu in found["1"])
    return Report([
        Figure(
            f"ingest with {_WORKERS} workers over one, on {cores} cores", f"{ratio:.2f}",
            ">= 1.7 where cores allow", f"{two:.1f} over {one:.1f} notes a second, {dear:.0f} CPU-ms each at the worker;"
            f" two processes that only embed, over one: {floor:.2f}; rounds {min(ratios):.2f} to {max(ratios):.2f}",
            # Besides workers there are API, stores and broker: with two cores they take from the second worker.
            ratio >= 1.7 if cores > _WORKERS else None,
        ),
    ])  # fmt: skip
