"""What a person would try after a release: through the balancer, a document in and an answer out that cites it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

from pegasus_aws.release.failure import NotDeployed

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_POLL_SECONDS, _JOB_SECONDS = 0.5, 180.0


def smoke(address: str, domain: str, key: str) -> None:
    """In a workspace of its own, which is erased again. Raises ``NotDeployed`` naming the check that failed."""
    headers = {"X-API-Key": key, "Host": domain}
    with httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT, verify=address.startswith("https:")) as http:
        _call(http, "health", "GET", "/health")
        _call(http, "ready", "GET", "/ready")
        made = _call(http, "workspace", "POST", "/v1/workspaces", json={"name": f"smoke-{uuid4()}"})
        try:
            _document_and_answer(http, made["key"]["key"])
        finally:
            erased = _call(http, "erasure", "DELETE", f"/v1/workspaces/{made['workspace']['id']}")
        _job(http, "erasure", erased["job"]["id"], key)


def _document_and_answer(http: httpx.Client, key: str) -> None:
    own = {"X-API-Key": key}
    text = f"The harbour of Kallisto was rebuilt by Marta Oduya in the year 1911. Reference {uuid4()}."
    document = {"title": "The harbour of Kallisto", "text": text}
    added = _call(http, "document", "POST", "/v1/documents", json=document, headers=own)
    _job(http, "document", added["job"]["id"], key)
    question = {"question": "Who rebuilt the harbour of Kallisto?"}
    answer = _call(http, "answer", "POST", "/v1/ask", json=question, headers=own)
    if not any(_cites(citation, added["document"]["id"], text) for citation in answer["citations"]):
        raise NotDeployed(f"answer: it does not cite the document that has it: {answer['answer'][:200]!r}")


def _cites(citation: Mapping[str, Any], document_id: str, text: str) -> bool:
    quote = text[citation["start"] : citation["end"]]
    digest = hashlib.sha256(quote.encode()).hexdigest()
    return bool(quote) and (citation["document_id"], citation["sha256"]) == (document_id, digest)


def _job(http: httpx.Client, check: str, job_id: str, key: str) -> None:
    deadline = time.monotonic() + _JOB_SECONDS
    while True:
        job = _call(http, check, "GET", f"/v1/jobs/{job_id}", headers={"X-API-Key": key})
        if job["state"] == "succeeded":
            return
        if job["state"] in ("failed", "dead", "cancelled") or time.monotonic() > deadline:
            why = (job.get("error") or {}).get("detail", "")
            raise NotDeployed(f"{check}: its job is {job['state']} {why}".rstrip())
        time.sleep(_POLL_SECONDS)


def _call(http: httpx.Client, check: str, method: str, path: str, **options: Any) -> Any:
    try:
        response = http.request(method, path, **options)
    except httpx.TransportError as error:
        raise NotDeployed(f"{check}: {method} {path} was not answered: {error}") from error
    if response.status_code >= 300:
        raise NotDeployed(f"{check}: {method} {path} was answered {response.status_code}: {response.text[:300]}")
    return response.json()
