"""check, rebuild, compact and erasures as commands, beside a running server and without one."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import finished
from installations import truth_of
from processes import ServerProcess, command
from tier import copied

NOTES = {"tide.md": "# Tide\n\nAda Lovelace watched the tide at Lynmouth.", "hut.md": "# Hut\n\nThe hut opens in May."}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    notes = folder / "notes"
    notes.mkdir()
    for name, text in NOTES.items():
        (notes / name).write_text(text)
    added = command(folder / "data", "add", str(notes))
    assert added.returncode == 0, added.stderr
    return folder / "data"


@pytest.fixture
def data(filled: Path, tmp_path: Path) -> Path:
    return copied(filled, tmp_path / "data")


@pytest.fixture
def server(data: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(data)
    running.start().close()
    yield running
    running.end()


def sql(data: Path, statement: str) -> None:
    with truth_of(data) as (relational, _), relational.write() as tx:
        tx.execute(statement)


def test_stores_that_agree_are_said_to_and_the_exit_code_tells(data: Path) -> None:
    checked = command(data, "check")
    assert checked.returncode == 0, checked.stderr
    assert "The stores agree." in checked.stdout
    assert "2 documents" in checked.stdout


@pytest.mark.embedded("files of its stores are removed")
@pytest.mark.parametrize("lost", ["vectors", "graph.ladybug"])
def test_a_derived_store_that_is_gone_is_noticed_and_made_again(data: Path, lost: str) -> None:
    path = data / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    checked = command(data, "check")
    assert checked.returncode == 1
    assert "Next: pegasus check --repair" in checked.stdout
    repaired = command(data, "check", "--repair")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "The stores agree." in repaired.stdout
    assert json.loads(command(data, "search", "sea level", "--mode", "semantic", "--json").stdout)["passages"]


@pytest.mark.embedded("a file of the graph is torn")
def test_a_kill_that_tears_the_graphs_log_harms_nothing(data: Path, server: ServerProcess, tmp_path: Path) -> None:
    client, log = server.client(), data / "graph.ladybug.wal"
    added = client.call("POST", "/v1/documents", json={"text": "Grace Hopper met Ada Lovelace in the hut."})
    finished(client, added["job"]["id"])
    client.close()
    server.end(signal.SIGKILL)
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) - 9])  # The last record, half written.
    with closing(server.start()) as client:
        assert "bootstrap.graph_lost_its_end" in server.log
        (rebuilt,) = [job for job in client.call("GET", "/v1/jobs")["items"] if job["kind"] == "rebuild"]
        assert finished(client, rebuilt["id"])["state"] == "succeeded"
        checked = command(data, "check")
        assert checked.returncode == 0, checked.stdout


def test_a_changed_text_is_told_with_its_document_and_mended_beside_a_running_server(
    data: Path, server: ServerProcess
) -> None:
    assert server.pid
    sql(data, "UPDATE passages SET text = 'forged' WHERE text LIKE '%Lynmouth%'")
    report = json.loads(command(data, "check", "--json").stdout)
    assert not report["consistent"]
    (document,) = {difference["document_id"] for difference in report["differences"]} - {None}
    assert report["counts"]["rows:passage-changed"] == 1
    repaired = command(data, "check", "--repair", "--json")
    assert repaired.returncode == 0, repaired.stderr
    outcome = json.loads(repaired.stdout)
    assert outcome["consistent"]
    assert document in {repair["document_id"] for repair in outcome["repairs"]}
    assert "Lynmouth" in command(data, "search", "Lynmouth").stdout


def test_what_cannot_be_mended_is_said_with_a_next_step(data: Path) -> None:
    sql(data, "UPDATE document_versions SET text = 'forged', file_key = NULL WHERE text LIKE '%Lynmouth%'")
    sql(data, "UPDATE passages SET text = 'forged', sha256 = '' WHERE text LIKE '%Lynmouth%'")
    repaired = command(data, "check", "--repair")
    assert repaired.returncode == 1
    assert "not mended" in repaired.stdout
    assert "backup" in repaired.stdout


@pytest.mark.embedded("what servers keep in their files is left to them, which test_servers shows")
def test_an_erasure_has_a_receipt_and_is_purged_by_compaction(data: Path) -> None:
    (document,) = {
        passage["document_id"]
        for passage in json.loads(command(data, "search", "Lynmouth", "--mode", "lexical", "--json").stdout)["passages"]
    }
    assert command(data, "erase", document).returncode == 0
    shown = command(data, "erasures", "show", document)
    assert "verified" in shown.stdout
    assert "Next: pegasus compact" in shown.stdout
    compacted = command(data, "compact")
    assert compacted.returncode == 0, compacted.stderr
    (receipt,) = json.loads(command(data, "erasures", "list", "--json").stdout)
    assert (receipt["subject_id"], receipt["state"]) == (document, "purged")
    content = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    assert b"lynmouth" not in content.lower()
    assert b"opens in May" in content


def test_rebuild_names_its_stores(data: Path) -> None:
    rebuilt = command(data, "rebuild", "graph", "fulltext")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "graph, fulltext" in rebuilt.stdout
    refused = command(data, "rebuild", "everything")
    assert refused.returncode == 2
