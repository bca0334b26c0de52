"""A workspace is erased by a command, beside a running server and without one; not even a kill keeps it."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import ServerProcess, command
from tier import copied

from pegasus.client import Client

SECRET = "The zanzibarite crystal was hidden by Quillon Featherstonehaugh beneath the xylotheque."
OURS = "Ada Lovelace watched the tide at Lynmouth."


def made(data: Path, name: str, words: str, count: int) -> dict[str, str]:
    """A workspace with documents; its id and its key."""
    created = json.loads(command(data, "workspaces", "create", name, "--json").stdout)
    key = created["key"]["key"]
    notes = data.with_name(name)
    notes.mkdir()
    for n in range(count):
        (notes / f"{name}-{n}.md").write_text(f"# {name} {n}\n\n{words} It is note {n}.\n")
    added = command(data, "add", str(notes), PEGASUS_KEY=key)
    assert added.returncode == 0, added.stderr
    return {"id": created["workspace"]["id"], "key": key}


@dataclass
class Filled:
    """A data directory with two workspaces besides the local one: of 60 documents and of 2."""

    data: Path
    gone: dict[str, str]
    kept: dict[str, str]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    data = tmp_path_factory.mktemp("filled") / "data"
    return Filled(data, made(data, "gone", SECRET, 60), made(data, "kept", OURS, 2))


@pytest.fixture
def data(filled: Filled, tmp_path: Path) -> Path:
    return copied(filled.data, tmp_path / "data")


@pytest.mark.embedded("what servers keep in their files is left to them, which test_servers shows")
def test_no_byte_of_it_is_left_after_compaction(data: Path, filled: Filled) -> None:
    gone, kept = filled.gone, filled.kept
    documents = json.loads(command(data, "search", "crystal", "--json", PEGASUS_KEY=gone["key"]).stdout)["passages"]
    assert documents
    backup = data.with_name("before.pegasus")
    assert command(data, "backup", str(backup), "--keep-days", "30").returncode == 0
    erased = command(data, "workspaces", "erase", gone["id"], "--yes")
    assert erased.returncode == 0, erased.stderr
    assert f"Erasure of the workspace {gone['id']}: verified" in erased.stdout
    assert "60 documents" in erased.stdout
    assert "before.pegasus" in erased.stdout
    assert "Next: pegasus compact" in erased.stdout
    assert command(data, "compact").returncode == 0
    receipt = json.loads(command(data, "erasures", "show", gone["id"], "--json").stdout)
    assert receipt["state"] == "purged"
    assert [held["name"] for held in receipt["backups"]] == ["before.pegasus"]
    content = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    for word in (b"zanzibarite", b"featherstonehaugh", b"xylotheque", b"gone-0.md"):
        assert word not in content.lower(), word
    for passage in documents:
        for id_ in (passage["document_id"], passage["sha256"]):
            assert id_.encode() not in content
    assert b"Lynmouth" in content
    assert command(data, "search", "tide", PEGASUS_KEY=kept["key"]).returncode == 0
    refused = command(data, "search", "tide", PEGASUS_KEY=gone["key"])
    assert refused.returncode == 1
    assert "not valid" in refused.stderr


def test_it_is_not_erased_unless_somebody_says_that_it_is_meant(data: Path, filled: Filled) -> None:
    gone = filled.gone
    unsaid = command(data, "workspaces", "erase", gone["id"])
    assert unsaid.returncode == 2
    assert "--yes" in unsaid.stderr
    unknown = command(data, "workspaces", "erase", "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1")
    assert unknown.returncode == 1
    assert "pegasus workspaces list" in unknown.stderr
    assert command(data, "search", "crystal", PEGASUS_KEY=gone["key"]).returncode == 0
    listed = json.loads(command(data, "workspaces", "list", "--json").stdout)
    (local,) = (w for w in listed if w["id"] not in (gone["id"], filled.kept["id"]))
    refused = command(data, "workspaces", "erase", local["id"], "--yes")
    assert refused.returncode == 1
    assert "Next:" in refused.stderr


@pytest.mark.parametrize("after_seconds", [0.0, 0.15, 0.4])
def test_a_killed_server_goes_on_with_it_at_the_next_start(data: Path, filled: Filled, after_seconds: float) -> None:
    gone, kept = filled.gone, filled.kept
    server = ServerProcess(data)
    try:
        client = server.start()
        job = client.call("DELETE", f"/v1/workspaces/{gone['id']}")["job"]
        client.close()
        time.sleep(after_seconds)
        server.end(signal.SIGKILL)
        client = server.start()
        done = ended(client, job["id"])
        assert done["state"] == "succeeded", done
        receipt = client.call("GET", f"/v1/erasures/{job['id']}")
        assert (receipt["state"], receipt["removed"]["documents"]) == ("verified", 60)
        assert client.call("GET", "/v1/integrity")["consistent"]
        assert gone["id"] not in {workspace["id"] for workspace in client.call("GET", "/v1/workspaces")["items"]}
        client.close()
        other = Client(server.address, kept["key"])
        assert len(other.call("GET", "/v1/documents")["items"]) == 2
        other.close()
    finally:
        server.end(signal.SIGKILL)


def ended(client: Client, job_id: str, timeout_seconds: float = 60) -> dict[str, Any]:
    until = time.monotonic() + timeout_seconds
    while True:
        job: dict[str, Any] = client.call("GET", f"/v1/jobs/{job_id}")
        if job["state"] in ("succeeded", "failed", "dead", "cancelled"):
            return job
        assert time.monotonic() < until, job
        time.sleep(0.05)
