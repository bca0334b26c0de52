"""What several tests of the HTTP interface do: check a problem, verify a citation, read events, make raw requests."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from pegasus.client import Client

Json = dict[str, Any]


def assert_problem(response: httpx.Response, status: int, code: str) -> Json:
    """An RFC 9457 problem of this status and stable type; its body."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert body["type"] == (code if code == "about:blank" else f"urn:pegasus:problem:{code}")
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def assert_verifies(client: Client, citation: Mapping[str, Any]) -> None:
    """The citation's version of the document really has the quote at its offsets, and the hash is the quote's."""
    content = client.call(
        "GET", f"/v1/documents/{citation['document_id']}/content", params={"version": citation["version"]}
    )
    assert citation["quote"]
    assert content["version"] == citation["version"]
    assert content["text"][citation["start"] : citation["end"]] == citation["quote"]
    assert sha256(citation["quote"]) == citation["sha256"]


def add_text(client: Client, text: str, **fields: Any) -> Json:
    """A text document by JSON; what the answer says of document and job."""
    added: Json = client.call("POST", "/v1/documents", json={"text": text, **fields})
    return added


def announce_upload(client: Client, filename: str, content: bytes) -> Json:
    announced: Json = client.call(
        "POST",
        "/v1/uploads",
        json={"filename": filename, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
    )
    return announced


def send_upload(upload: Mapping[str, Any], content: bytes) -> int:
    """The status that a client gets which knows nothing but what the announcement was answered, and has no key."""
    with httpx.Client(trust_env=False, verify=False) as http:
        answer = http.request(upload["method"], upload["url"], headers=upload["headers"], content=content)
    return answer.status_code


def walk(client: Client, path: str, **parameters: Any) -> list[str]:
    """The ids of a whole list in pages of two."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.call("GET", path, params={**parameters, "limit": 2, **cursor})
        assert len(page["items"]) <= 2
        ids += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            return ids
        cursor = {"cursor": page["next_cursor"]}


def events_of(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Server-sent events as (name, data); a comment has the name ":" and its text."""
    name = ""
    for line in response.iter_lines():
        if line.startswith(":"):
            yield ":", line[1:].strip()
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
        else:
            assert not line, line


def send_raw(address: str, request: bytes) -> bytes:
    """The whole answer to bytes that no HTTP library would send."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer
