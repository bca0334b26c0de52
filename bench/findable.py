"""How long after its acceptance a document is found by its words, while a large import is under way."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from typing import Any

from bench.harness import Figure, Report, docstrings, in_child, percentile
from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

_PROBES = 60
_LOOK_SECONDS = 0.005


def accepted_to_found() -> dict[str, Any]:
    """Milliseconds for each probe, sent over HTTP as a file (which is read by a job) and as a text, in turn."""
    with tempfile.TemporaryDirectory(prefix="pegasus-bench-") as directory:
        settings = load_settings(data=directory, log_level="error")
        with embedded(settings) as app, serving_in_background(app) as address:
            client = Client(address, local_access(app, settings.data).key)
            lines = "".join(json.dumps({"title": d["title"], "text": d["text"]}) + "\n" for d in docstrings())
            sender = threading.Thread(
                target=client.call, args=("POST", "/v1/documents/batch"), kwargs={"content": lines.encode()}
            )
            sender.start()
            time.sleep(0.5)
            waits: dict[str, list[float]] = {"file": [], "text": []}
            for number in range(_PROBES):
                kind = ("file", "text")[number % 2]
                waits[kind].append(_probe(client, kind, f"zebra{number}quagga"))
                time.sleep(0.1)
            state = client.call("GET", "/v1/jobs?state=running&limit=200")["items"]
            sender.join()
            client.close()
            return {**waits, "still_importing": bool(state)}


def _probe(client: Client, kind: str, word: str) -> float:
    text = f"A note about {word}."
    if kind == "file":
        client.call("POST", "/v1/documents", files={"file": (f"{word}.txt", text.encode(), "text/plain")})
    else:
        client.call("POST", "/v1/documents", json={"text": text})
    accepted = time.perf_counter()
    while not client.call("POST", "/v1/search", json={"query": word, "mode": "lexical", "limit": 1})["passages"]:
        time.sleep(_LOOK_SECONDS)
    return (time.perf_counter() - accepted) * 1000


def measure() -> Report:
    if not docstrings():
        return Report([Figure("accepted to findable", "not run: ../shared/bench is not here", "", "", None)])
    waits = in_child(accepted_to_found)
    during = "while importing" if waits["still_importing"] else "the import ended before the last probe"
    lines = []
    for kind in ("text", "file"):
        p95 = percentile(waits[kind], 0.95)
        lines.append(
            Figure(f"a {kind} accepted to found by its words, p95 ({during})", f"{p95:.0f} ms", "<= 300 ms",
                   f"p50 {percentile(waits[kind], 0.5):.0f} ms, with the search itself", p95 <= 300)
        )  # fmt: skip
    return Report(lines)
