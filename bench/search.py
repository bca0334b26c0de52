"""What search costs beyond its parts, and whether fusing them is ever worse than the better of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.harness import (
    DOCSTRINGS,
    PROSE,
    Bench,
    Figure,
    Report,
    bootstrap_interval,
    docstrings,
    in_child,
    opened,
    percentile,
    read_lines,
)  # fmt: skip
from pegasus.access import service as access
from pegasus.adapters.chroma import ChromaVectorStore
from pegasus.adapters.minilm import MiniLmEmbedder
from pegasus.domain import Filters
from pegasus.search.service import Mode
from pegasus.text.words import content_words

_TOP = 10


def latency() -> dict[str, float]:
    """Milliseconds, p50 and p95, of a hybrid search and of its three parts alone, taken in turn, query by query."""
    queries = [line["q"] for line in read_lines(DOCSTRINGS / "queries.jsonl")]
    with opened(embed_threads=1) as bench:
        bench.add([{"title": d["title"], "text": d["text"]} for d in docstrings()])
        bench.drain()
        app, workspace = bench.app, bench.workspace_id
        parts = {name: getattr(app.search, f"_{name}") for name in ("embedder", "vectors")}
        embedder: MiniLmEmbedder = parts["embedder"]
        vectors: ChromaVectorStore = parts["vectors"]
        alone: list[float] = []
        ours: list[float] = []
        for query in [*queries[:20], *queries]:  # The first twenty warm the caches and are dropped.
            begun = time.perf_counter()
            vector = embedder.embed([query])[0]
            vectors.query(workspace, vector, _TOP)
            with app.relational.read() as tx:
                tx.search_words(workspace, content_words(query, 32), _TOP, Filters())
            middle = time.perf_counter()
            app.search.search(workspace, query, limit=_TOP)
            ours.append((time.perf_counter() - middle) * 1000)
            alone.append((middle - begun) * 1000)
        ours, alone = ours[20:], alone[20:]
        return {
            "ours": statistics.median(ours), "alone": statistics.median(alone),
            "ours_p95": percentile(ours, 0.95), "alone_p95": percentile(alone, 0.95),
        }  # fmt: skip


def quality() -> dict[str, Any]:
    """hit@5 on the docstrings, and nDCG@10 of each question of the prose set's halves, by mode."""
    queries = read_lines(PROSE / "queries.jsonl")
    with opened(embed_threads=2) as bench:
        found: dict[str, Any] = {}
        bench.add(
            [{"title": d["title"], "text": d["text"], "uri": d["id"]} for d in read_lines(PROSE / "corpus.jsonl")]
        )
        bench.drain()
        for half in ("tune", "test"):
            of_half = [query for query in queries if query["half"] == half]
            found[half] = {
                mode.value: [ndcg(_documents(bench, query["q"], mode), query["relevant"]) for query in of_half]
                for mode in Mode
            }
        found["answers"] = _answers(bench, queries)
        if docstrings():
            found["hits"] = _hits(bench)
        return found


def _hits(bench: Bench) -> dict[str, float]:
    with bench.app.relational.write() as tx:
        other = Bench(bench.app, access.create_workspace(tx, "docstrings"))
    other.add([{"title": d["title"], "text": d["text"], "uri": d["id"]} for d in docstrings()])
    other.drain()
    queries = read_lines(DOCSTRINGS / "queries.jsonl")
    return {
        mode.value: statistics.fmean(line["id"] in _documents(other, line["q"], mode)[:5] for line in queries)
        for mode in Mode
    }


def _answers(bench: Bench, queries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """On the untouched half: how often it answers, and how often it says rightly that it found nothing."""
    answerable = [query["q"] for query in queries if query["half"] == "test"]
    others = [line["q"] for line in read_lines(PROSE / "unanswerable.jsonl") if line["half"] == "test"]
    answers = [bench.app.chat.ask(bench.workspace_id, question) for question in answerable]
    relevant = [query["relevant"] for query in queries if query["half"] == "test"]
    given = [(answer, right) for answer, right in zip(answers, relevant, strict=True) if answer.found]
    names = _names(bench)
    return {
        "answered": len(given) / len(answerable),
        "cites_relevant": statistics.fmean(
            any(names[citation.document_id] in right for citation in answer.citations) for answer, right in given
        ),
        "refused": statistics.fmean(not bench.app.chat.ask(bench.workspace_id, question).found for question in others),
    }


def _documents(bench: Bench, query: str, mode: Mode) -> list[str]:
    """The set's own ids of the documents found, best first, each once."""
    names = _names(bench)
    passages = bench.app.search.search(bench.workspace_id, query, limit=3 * _TOP, mode=mode)
    return list(dict.fromkeys(names[item.passage.document_id] for item in passages))[:_TOP]


def _names(bench: Bench) -> dict[str, str]:
    with bench.app.relational.read() as tx:
        return {row["id"]: row["uri"] for row in tx.all("SELECT id, uri FROM documents")}


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Normalised discounted cumulative gain at 10, gain 2^grade - 1 (Burges et al. 2005)."""
    ideal = sorted(relevant.values(), reverse=True)[:_TOP]
    return float(_dcg([relevant.get(id_, 0) for id_ in ranked[:_TOP]]) / _dcg(ideal))


def _dcg(grades: Sequence[int]) -> float:
    return sum((2.0**grade - 1) / math.log2(position + 2) for position, grade in enumerate(grades))


def measure() -> Report:
    found = in_child(quality)
    lines = [_ndcg_figure(found["tune"], "tuned on"), _ndcg_figure(found["test"], "untouched")]
    plots = {"ndcg": {mode: [statistics.fmean(v), *bootstrap_interval(v)] for mode, v in found["test"].items()}}
    answers = found["answers"]
    lines.append(
        Figure(
            "answers on the untouched half: given / cite a relevant document / rightly refused",
            f"{answers['answered']:.2f} / {answers['cites_relevant']:.2f} / {answers['refused']:.2f}",
            "stated", "", None,
        )
    )  # fmt: skip
    if not docstrings():
        lines.append(Figure("search on docstrings", "not run: ../shared/bench is not here", "", "", None))
        return Report(lines, plots)
    hits = found["hits"]
    values = " / ".join(f"{hits[mode]:.3f}" for mode in ("hybrid", "lexical", "semantic"))
    lines.append(
        Figure("hit@5 on docstrings, hybrid / lexical / semantic", values, "hybrid >= .99",
               ".995 lexical, .81 semantic, .915 equal-weight fusion", hits["hybrid"] >= 0.99)
    )  # fmt: skip
    times = in_child(latency)
    ratio = times["ours"] / times["alone"]
    beside = f"{times['ours']:.1f} over {times['alone']:.1f} ms; p95 {times['ours_p95']:.1f}, {times['alone_p95']:.1f}"
    lines.append(Figure("search, p50 over its parts alone (top 10)", f"{ratio:.2f}", "<= 1.3", beside, ratio <= 1.3))
    return Report(lines, plots)


def _ndcg_figure(scores: Mapping[str, Sequence[float]], which: str) -> Figure:
    means = {mode: statistics.fmean(values) for mode, values in scores.items()}
    low, high = bootstrap_interval(scores["hybrid"])
    better = max(("lexical", "semantic"), key=means.__getitem__)
    gain = [ours - theirs for ours, theirs in zip(scores["hybrid"], scores[better], strict=True)]
    gain_low, gain_high = bootstrap_interval(gain)
    return Figure(
        f"nDCG@10 on {len(gain)} paraphrased questions ({which} half), hybrid",
        f"{means['hybrid']:.3f} [{low:.3f}, {high:.3f}]",
        ">= the better half",
        f"lexical {means['lexical']:.3f}, semantic {means['semantic']:.3f}; gain {statistics.fmean(gain):+.3f}"
        f" [{gain_low:+.3f}, {gain_high:+.3f}]",
        means["hybrid"] >= means[better],
    )
