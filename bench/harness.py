"""Runs measurements in processes of their own, so that CPU time and peak memory are theirs alone."""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pegasus.application import Application
from pegasus.bootstrap import build, local_access
from pegasus.data_directory import data_directory
from pegasus.ingestion.batch import BatchIntake
from pegasus.settings import load_settings

ROOT = Path(__file__).parents[1]
DOCSTRINGS = Path(os.environ.get("PEGASUS_BENCH_SHARED", ROOT.parent / "shared" / "bench")) / "docstrings"
PROSE = ROOT / "bench" / "prose"


@dataclass(frozen=True)
class Figure:
    """One line of the report; ``reached`` is None for what is only stated."""

    what: str
    value: str
    goal: str
    beside: str
    reached: bool | None


@dataclass(frozen=True)
class Report:
    """The figures of a benchmark, and series for docs/pictures where a picture says more."""

    figures: list[Figure]
    plots: dict[str, Any] = field(default_factory=dict)


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def docstrings() -> list[dict[str, Any]]:
    """The shared set, or, where it is not at hand, none: its measurements are then left out by name."""
    return read_lines(DOCSTRINGS / "corpus.jsonl") if DOCSTRINGS.is_dir() else []


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result from a fresh interpreter, through JSON."""
    call = f"import json, {function.__module__} as m; print(json.dumps(m.{function.__name__}(*json.loads({json.dumps(json.dumps(arguments))}))))"
    done = subprocess.run([sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{function.__name__} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_mebibytes() -> float:
    """VmHWM of this process (``ru_maxrss`` would inherit the parent's peak across fork and exec)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def resident_mebibytes(process: int | str = "self") -> float:
    (line,) = [row for row in Path(f"/proc/{process}/status").read_text().splitlines() if row.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@dataclass(frozen=True)
class Bench:
    """An application whose workers are not running: the benchmark drains them in its own thread, or starts them."""

    app: Application
    workspace_id: str

    def add(self, documents: Sequence[dict[str, Any]]) -> None:
        """Take in documents as POST /v1/documents/batch does."""
        limit = self.app.settings.max_text_characters
        batch = BatchIntake(self.app.relational, self.app.signal, self.workspace_id, limit)
        for document in documents:
            batch.feed((json.dumps(document) + "\n").encode())
        batch.close()

    def drain(self) -> None:
        while sum(worker.run_once() for worker in self.app.workers):
            pass


@contextmanager
def opened(directory: str | None = None, **settings: Any) -> Iterator[Bench]:
    """On a directory that is given and kept, or on one of its own."""
    with ExitStack() as stack:
        directory = directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="pegasus-bench-"))
        given = load_settings(data=directory, **settings)
        with data_directory(given.data):
            app = build(given, given.data)
            try:
                yield Bench(app, local_access(app, given.data).workspace_id)
            finally:
                app.close()


def cpu_seconds(process: int) -> float:
    """User and system time of a process and its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def bootstrap_interval(values: Sequence[float], draws: int = 2_000) -> tuple[float, float]:
    """95 % interval of the mean by the percentile bootstrap (Efron 1979), seeded so that it repeats."""
    random_ = random.Random(0)
    means = sorted(statistics.fmean(random_.choices(values, k=len(values))) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]
