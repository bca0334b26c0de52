"""What a person does next after something went wrong really helps; what was left behind is put right."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import finished
from stores import differences

from pegasus.application import Application
from pegasus.bootstrap import build, embedded, local_access
from pegasus.client import Client, running_server
from pegasus.data_directory import KEY_FILE, SERVER_FILE, data_directory
from pegasus.documents import service as documents
from pegasus.errors import Conflict, Misconfigured, Unavailable
from pegasus.ingestion import intake
from pegasus.jobs import service as jobs
from pegasus.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data=tmp_path / "data", embedder="hash", log_level="error")


@pytest.fixture
def stopped(settings: Settings) -> Iterator[Application]:
    """Open stores and no worker, so that a job stays as it is."""
    settings.data.mkdir()
    application = build(settings, settings.data)
    yield application
    application.close()


def text(content: str, uri: str | None = None, title: str | None = None) -> documents.NewDocument:
    return documents.new_text(content, title, uri, max_characters=10**6)


def add(application: Application, workspace_id: str, new: documents.NewDocument) -> documents.Added:
    with application.relational.write() as tx:
        return intake.add_text(tx, workspace_id, new)


def at_rest(application: Application, timeout_seconds: float = 10) -> None:
    until = time.monotonic() + timeout_seconds
    while time.monotonic() < until:
        with application.relational.read() as tx:
            if not tx.one("SELECT 1 FROM jobs WHERE state IN ('queued', 'running')"):
                return
        time.sleep(0.05)
    raise AssertionError("jobs are still waiting")


class TestAddingAgain:
    def test_a_document_whose_job_was_cancelled_is_indexed_when_it_is_added_again(self, stopped: Application) -> None:
        workspace_id = local_access(stopped, stopped.settings.data).workspace_id
        first = add(stopped, workspace_id, text("The heron stands."))
        assert first.job
        with stopped.relational.write() as tx:
            jobs.cancel(tx, workspace_id, first.job.id)
        assert add(stopped, workspace_id, text("The heron stands.")).job

    @pytest.mark.parametrize(
        ("content", "first", "then"),
        [
            (b"The heron stands.", ("notes.docx", "text/plain"), ("notes.txt", "text/plain")),
            (b"A caf\xe9 by the pier.", ("cafe.txt", "text/plain"), ("cafe.txt", "text/plain; charset=windows-1252")),
        ],
    )
    def test_a_file_is_read_when_it_is_added_again_as_the_hint_says(
        self, client: Client, content: bytes, first: tuple[str, str], then: tuple[str, str]
    ) -> None:
        states = []
        for name, media_type in (first, then):
            answer = client.call("POST", "/v1/documents", files={"file": (name, content, media_type)})
            states.append(finished(client, answer["job"]["id"])["state"])
        assert states == ["failed", "succeeded"]


class TestStoresAgree:
    def test_after_a_new_version_with_another_title_old_links_are_gone_from_the_graph(self, settings: Settings) -> None:
        with embedded(settings) as application:
            workspace_id = local_access(application, settings.data).workspace_id
            for new in (
                text("See [[Harbour]].", "a", "Index"),
                text("Boats lie here.", "b", "Harbour"),
                text("Boats lay here.", "b", "Shipyard"),
            ):
                add(application, workspace_id, new)
                application.signal.notify_all()
                at_rest(application)
            assert differences(application) == []

    @pytest.mark.embedded("the vectors' file is damaged")
    def test_a_vector_store_that_fails_while_it_runs_is_unavailable(self, stopped: Application) -> None:
        """As on a full or failing disk; words still work, so a search need not fail with it."""
        workspace_id = local_access(stopped, stopped.settings.data).workspace_id
        add(stopped, workspace_id, text("The heron stands."))
        damaged = stopped.settings.data / "vectors" / "chroma.sqlite3"
        damaged.write_bytes(b"no database " * 1000)
        with pytest.raises(Unavailable):
            stopped.search._vectors.upsert(workspace_id, ["1"], np.ones((1, 384), np.float32))


class TestNextStart:
    def test_a_job_from_before_the_clock_was_set_back_runs(self, settings: Settings) -> None:
        settings.data.mkdir()
        application = build(settings, settings.data)
        add(application, local_access(application, settings.data).workspace_id, text("The heron stands."))
        with application.relational.write() as tx:  # what a clock that was an hour ahead has left
            tx.execute("UPDATE jobs SET run_after = run_after + 3600, created_at = created_at + 3600")
        application.close()
        with embedded(settings) as application:
            at_rest(application, timeout_seconds=30)

    @pytest.mark.parametrize("left", ["", "pgs_of-a-transaction-that-was-never-committed\n"])
    def test_a_key_file_from_a_start_that_was_killed_is_made_anew(self, stopped: Application, left: str) -> None:
        (stopped.settings.data / KEY_FILE).write_text(left)
        stopped.doorkeeper.admit(local_access(stopped, stopped.settings.data).key, "127.0.0.1")

    def test_the_address_of_a_killed_server_is_not_believed(self, tmp_path: Path) -> None:
        with data_directory(tmp_path / "data") as directory:  # a command that is at work now
            stale = {"address": "http://127.0.0.1:9", "process": 2**22 + 1}
            (directory / SERVER_FILE).write_text(json.dumps(stale))
            with pytest.raises(Conflict, match="Another pegasus command is using"):
                running_server(directory)

    @pytest.mark.embedded("the files of its stores are damaged")
    @pytest.mark.parametrize("name", [
        "pegasus.sqlite3", "graph.ladybug", "vectors/chroma.sqlite3",
    ])  # fmt: skip
    def test_a_damaged_store_is_named_with_what_to_do(self, settings: Settings, name: str) -> None:
        damaged = settings.data / name
        damaged.parent.mkdir(parents=True)
        damaged.write_bytes(b"no database " * 1000)
        with pytest.raises(Misconfigured, match=name.split("/")[0]) as caught:
            build(settings, settings.data).close()
        assert caught.value.hint
