"""What ingestion costs beyond embedding, in time and memory, and what a change costs."""

from __future__ import annotations

import time
from typing import Any

from bench.harness import Figure, Report, docstrings, in_child, opened, peak_mebibytes
from pegasus.adapters.minilm import MiniLmEmbedder
from pegasus.ingestion.chunking import chunk_text
from pegasus.ingestion.repository import embedding_input
from pegasus.text.markdown import read_markdown


def embed_alone() -> float:
    """CPU-seconds to embed the chunks of the docstrings, and nothing else."""
    embedder = MiniLmEmbedder(1)
    inputs = [
        embedding_input(document["title"], chunk.heading, chunk.text)
        for document in docstrings()
        for chunk in chunk_text(document["text"], read_markdown(document["text"]).headings)
    ]
    begun = time.process_time()
    embedder.embed(inputs)
    return time.process_time() - begun


def ingest() -> dict[str, Any]:
    """CPU-seconds and peak memory of the whole ingestion, then of the same again with 1 % of the documents changed."""
    documents = [{"title": d["title"], "text": d["text"], "uri": d["id"]} for d in docstrings()]
    with opened(embed_threads=1) as bench:
        begun = time.process_time()
        bench.add(documents)
        bench.drain()
        first = time.process_time() - begun
        peak = peak_mebibytes()
        for document in documents[::100]:
            document["text"] = document["text"].replace(".", ". This sentence is new.", 1)
        begun = time.process_time()
        bench.add(documents)
        bench.drain()
        return {"first": first, "again": time.process_time() - begun, "peak": peak}


def change_in_one_document() -> float:
    """CPU of a new version of one long document with 1 % of its text changed, over its first version."""
    text = "\n\n".join(document["text"] for document in docstrings()[:600])
    middle, length = len(text) // 2, len(text) // 100
    with opened(embed_threads=1) as bench:
        spent = []
        for version in (text, text[:middle] + "changed words, " * (length // 15) + text[middle + length :]):
            begun = time.process_time()
            bench.add([{"title": "All", "text": version, "uri": "all"}])
            bench.drain()
            spent.append(time.process_time() - begun)
        return spent[1] / spent[0]


def measure() -> Report:
    if not docstrings():
        return Report([Figure("ingest", "not run: ../shared/bench is not here", "", "", None)])
    # The floor is measured before and after, because the machine may be busier at one time than at another.
    alone = [in_child(embed_alone)]
    full = in_child(ingest)
    alone.append(in_child(embed_alone))
    floor = sum(alone) / len(alone)
    ratio, again = full["first"] / floor, full["again"] / full["first"]
    one = in_child(change_in_one_document)
    beside = f"embedding alone {floor:.1f} CPU-s ({alone[0]:.1f}, {alone[1]:.1f}); llama-index 1.28, chromadb 1.02"
    return Report([
        Figure("ingest, CPU over embedding alone", f"{ratio:.3f}", "<= 1.15", beside, ratio <= 1.15),
        Figure("peak memory of that ingest", f"{full['peak']:.0f} MB", "<= 600 MB", "peers 1,680-1,906 MB", full["peak"] <= 600),
        Figure("again with 1 % of documents changed, CPU over first", f"{again:.4f}", "<= 0.05", "", again <= 0.05),
        Figure("one 240 kB document with 1 % changed, CPU over first", f"{one:.4f}", "<= 0.05", "", one <= 0.05),
    ])  # fmt: skip
