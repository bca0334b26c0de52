"""Questions about real prose: each citation is looked up in the stored text, as a reader would."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import finished
from servers import ON_SERVERS

from pegasus.client import Client

PROSE = Path(__file__).parents[2] / "bench" / "prose"
# Embedding what they are about takes longest, and is the same on both tiers.
QUESTIONS, ANSWERED_AT_LEAST = (170, 100) if ON_SERVERS else (50, 20)


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (PROSE / name).read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_citation_is_really_there(client: Client) -> None:
    queries = lines("queries.jsonl")[:QUESTIONS]
    # The part of the corpus that these questions are about.
    names = {name for query in queries for name in query["relevant"]}
    corpus = [document for document in lines("corpus.jsonl") if document["id"] in names]
    body = "".join(json.dumps({"title": d["title"], "text": d["text"], "uri": d["id"]}) + "\n" for d in corpus)
    batch = client.call("POST", "/v1/documents/batch", content=body.encode())["job"]
    assert finished(client, batch["id"], timeout_seconds=100)["result"] == {"items": len(corpus), "failed": 0}

    def ask(query: dict) -> dict:
        return client.call("POST", "/v1/ask", json={"question": query["q"]})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, queries))
    answered = sum(answer["found"] for answer in answers)
    assert answered >= ANSWERED_AT_LEAST
    cited = 0
    for answer in answers:
        assert bool(answer["citations"]) == answer["found"]
        for citation in answer["citations"]:
            document = client.call("GET", f"/v1/documents/{citation['document_id']}")
            content = client.call(
                "GET", f"/v1/documents/{citation['document_id']}/content", params={"version": citation["version"]}
            )
            quote = content["text"][citation["start"] : citation["end"]]
            assert (document["title"], content["version"]) == (citation["title"], citation["version"])
            assert quote
            assert quote == citation["quote"]
            assert hashlib.sha256(quote.encode()).hexdigest() == citation["sha256"]
            assert hashlib.sha256(content["text"].encode()).hexdigest() == content["sha256"]
            assert " ".join(quote.split()) in answer["answer"]
            cited += 1
    assert cited >= ANSWERED_AT_LEAST
