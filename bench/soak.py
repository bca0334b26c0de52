"""Minutes of mixed load on api, worker and scheduler: does anything fail, does memory grow, do the stores still agree.

SOAK_MINUTES, ten unless set, is how long. The number of documents stays the same once it is reached, so that memory
that grows is memory that leaks.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.harness import PROSE, Figure, Report, percentile, read_lines, resident_mebibytes
from bench.installation import OPERATOR_KEY, Part, Several, installed, until

_MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
_CLIENTS, _THINK_SECONDS, _KEPT_EACH, _SAMPLES = 4, 0.1, 40, 120
_SETTLE_SECONDS = 300
_ROLES = ("api", "worker", "scheduler")
_FLAT = 1.05


@dataclass
class _Seen:
    """What the clients saw; each has its own."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


class _Client:
    """A person with some documents of their own, who adds, reads, looks for, asks about and erases them by turns."""

    def __init__(self, address: str, number: int, texts: Sequence[str]) -> None:
        self._http = httpx.Client(base_url=address, headers={"X-API-Key": OPERATOR_KEY}, timeout=60)
        self._number, self._texts, self._random = number, texts, random.Random(number)
        self._mine: deque[str] = deque()
        self._added = 0
        self.seen = _Seen()

    def run(self, end: float) -> None:
        acts = [self._add] * 3 + [self._upload] + [self._read] * 5 + [self._search] * 4 + [self._ask] + [self._list] * 2
        with self._http:
            while time.monotonic() < end:
                self._random.choice(acts)()
                if len(self._mine) > _KEPT_EACH:
                    self._send("DELETE", f"/v1/documents/{self._mine.popleft()}")
                time.sleep(self._random.uniform(0, 2 * _THINK_SECONDS))

    def _send(self, method: str, path: str, **options: Any) -> Any:
        begun, name = time.perf_counter(), f"{method} /{path.split('/')[2]}"
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            self.seen.failures.append(f"{name}: {error!r}")
            return {}
        self.seen.milliseconds.append((time.perf_counter() - begun) * 1000)
        self.seen.answers[name] += 1
        if answer.is_error:
            self.seen.failures.append(f"{name}: {answer.status_code} {answer.text[:200]}")
            return {}
        return answer.json()

    def _new(self) -> tuple[str, str]:
        self._added += 1
        return f"Note {self._number}-{self._added}", f"{self._added}. {self._random.choice(self._texts)}"

    def _note(self, added: Any) -> None:
        if document := added.get("document"):
            self._mine.append(document["id"])

    def _add(self) -> None:
        title, text = self._new()
        self._note(self._send("POST", "/v1/documents", json={"title": title, "text": text}))

    def _upload(self) -> None:
        title, text = self._new()
        page = f"<html><title>{title}</title><body><p>{text}</p></body></html>"
        self._note(self._send("POST", "/v1/documents", files={"file": (f"{title}.html", page, "text/html")}))

    def _read(self) -> None:
        if self._mine:
            self._send("GET", f"/v1/documents/{self._random.choice(self._mine)}")

    def _words(self) -> str:
        words = self._random.choice(self._texts).split()
        return " ".join(self._random.sample(words, min(5, len(words))))

    def _search(self) -> None:
        self._send("POST", "/v1/search", json={"query": self._words()})

    def _ask(self) -> None:
        self._send("POST", "/v1/ask", json={"question": f"What is {self._words()}?"})

    def _list(self) -> None:
        self._send("GET", self._random.choice(["/v1/documents", "/v1/jobs", "/v1/usage"]))


def soak(minutes: float) -> dict[str, Any]:
    """What the clients saw, how the jobs ended, what ``pegasus check`` says, and each process's memory over time."""
    with installed(PEGASUS_EMBEDDER="minilm", PEGASUS_ASK_RATE_LIMIT="1000000/second") as installation:
        parts = installation.start(*_ROLES)
        clients = [_Client(parts[0].address, number, _texts()) for number in range(_CLIENTS)]
        memory = _while_sampled(parts, minutes * 60, [client.run for client in clients])
        jobs = _settled(parts[0])
        checked = installation.run("check", PEGASUS_URL=parts[0].address, PEGASUS_KEY=OPERATOR_KEY)
        ended = {part.role: part.end() for part in parts}
        seen = [client.seen for client in clients]
        return {
            "answers": sum((one.answers for one in seen), Counter[str]()),
            "milliseconds": [took for one in seen for took in one.milliseconds],
            "failures": [failure for one in seen for failure in one.failures] + _unwell(installation, ended),
            "jobs": jobs, "check": checked.returncode, "memory": memory,
        }  # fmt: skip


def _texts() -> list[str]:
    return [line["text"][:1_500] for line in read_lines(PROSE / "corpus.jsonl")]


def _while_sampled(
    parts: Sequence[Part], seconds: float, runs: Sequence[Callable[[float], None]]
) -> dict[str, list[tuple[float, float]]]:
    """Run them together; (minute, MB) of each process meanwhile."""
    begun, ended = time.monotonic(), threading.Event()
    memory: dict[str, list[tuple[float, float]]] = {part.role: [] for part in parts}

    def sample() -> None:
        while not ended.wait(seconds / _SAMPLES):
            for part in parts:
                if part.process:
                    with suppress(OSError):  # A process that has ended is told of as unwell.
                        minute = (time.monotonic() - begun) / 60
                        memory[part.role].append((minute, resident_mebibytes(part.process.pid)))

    with ThreadPoolExecutor(len(runs) + 1) as pool:
        sampling = pool.submit(sample)
        try:
            for running in [pool.submit(run, begun + seconds) for run in runs]:
                running.result()
        finally:
            ended.set()
        sampling.result()
    return memory


def _settled(api: Part) -> dict[str, int]:
    """How many jobs there are by state, once none is to be done any more."""
    client = api.client()

    def counts() -> dict[str, int] | None:
        found: dict[str, int] = client.call("GET", "/v1/usage")["jobs"]
        return None if found.get("queued") or found.get("running") else found

    settled: dict[str, int] = until(counts, "all jobs are done", _SETTLE_SECONDS)
    return settled


def _unwell(installation: Several, ended: dict[str, int]) -> list[str]:
    """What was logged, which is warnings and worse, and whoever ended badly."""
    logged = [f"{part.role}: {line}" for part in installation.parts for line in part.log.splitlines()]
    return [f"{role} ended with {status}" for role, status in ended.items() if status] + logged


def measure() -> Report:
    found = soak(_MINUTES)
    bad = [f"{number} jobs {state}" for state, number in found["jobs"].items() if state != "succeeded" and number]
    bad += ["check found differences"] if found["check"] else []
    count, answers = len(found["failures"]) + len(bad), sum(found["answers"].values())
    beside = f"{answers:,} answers, p50 {statistics.median(found['milliseconds']):.0f} ms, p99"
    beside += f" {percentile(found['milliseconds'], 0.99):.0f} ms; {found['jobs'].get('succeeded', 0):,} jobs"
    worst = "; ".join([*bad, *found["failures"][:3]])
    return Report(
        [
            Figure(
                f"{_MINUTES:g} minutes of mixed load on api, worker and scheduler: failed requests and jobs, warnings,"
                " differences that check finds", str(count), "0", worst or beside, count == 0,
            ),
            *(_memory(role, samples) for role, samples in found["memory"].items()),
        ],
        {f"soak_{role}": samples for role, samples in found["memory"].items()},
    )  # fmt: skip


def _memory(role: str, samples: Sequence[tuple[float, float]]) -> Figure:
    """The last third over the one before: what is loaded and filled at first is no leak."""
    third = len(samples) // 3
    middle, last = (statistics.median(mb for _, mb in part) for part in (samples[third : 2 * third], samples[-third:]))
    slope = statistics.linear_regression(*zip(*samples[third:], strict=True)).slope
    return Figure(
        f"memory of the {role}, the last third of that time over the one before", f"{last / middle:.3f}", f"<= {_FLAT}",
        f"{last:.0f} over {middle:.0f} MB; {slope:+.2f} MB a minute since the first third", last / middle <= _FLAT,
    )  # fmt: skip
