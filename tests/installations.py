"""A small installation with something of everything in it, for what has to work on whole installations.

``python -m tests.installations FILE`` saves one: the archives in tests/data were made so, each by the version that its
name tells, and every later version must be able to restore them. FILE is named after the format and the schema.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pegasus import samples
from pegasus.access import service as access
from pegasus.application import Application
from pegasus.bootstrap import build, database_of, embedded, local_access, truth
from pegasus.client import Client, ProblemError
from pegasus.data_directory import data_directory
from pegasus.documents import service as documents
from pegasus.ingestion import intake
from pegasus.ingestion import service as ingestion
from pegasus.integrity.backup import back_up
from pegasus.ports import FileStore, RelationalStore
from pegasus.server import serving_in_background
from pegasus.settings import Settings, load_settings
from pegasus.telemetry import configure_logging

QUESTIONS = (
    "Who wrote to Ada Lovelace?",
    "What did the keeper of the lighthouse write down?",
    "storm 1884",
    "Grace Hopper compiler",
)


def settings_for(folder: Path) -> Settings:
    configure_logging("error", "text")
    return load_settings(data=folder, embedder="hash", log_level="error")


def fill(folder: Path) -> dict[str, str]:
    """Documents of several kinds, versions, links, sessions, keys, two workspaces, jobs that failed and are waiting,
    a document that is being erased; ids and secrets of some of them by name. No process has the folder afterwards."""
    settings, made = settings_for(folder), dict[str, str]()
    with embedded(settings) as application, serving_in_background(application) as address:
        client = Client(address, local_access(application, folder).key)
        _add_documents(client, made)
        _talk(client, made)
        made["key"] = client.call("POST", "/v1/keys", json={"name": "an app"})["key"]
        revoked = client.call("POST", "/v1/keys", json={"name": "a lost phone"})
        client.call("DELETE", f"/v1/keys/{revoked['id']}")
        made["revoked"] = revoked["key"]
        with application.relational.write() as tx:
            made["workspace"] = access.create_workspace(tx, "another")
            _, made["other key"] = access.create_key(tx, made["workspace"], "its own")
        other = Client(address, made["other key"])
        text = "Ada Lovelace is known here as well. The storm of 1884 is not."
        _wait(other, other.call("POST", "/v1/documents", json={"text": text, "title": "Elsewhere"}))
        other.close()
        client.close()
    with stopped(folder) as application:
        _leave_work(application, local_access(application, folder).workspace_id, made)
    return made


def _add_documents(client: Client, made: dict[str, str]) -> None:
    client.call("POST", "/v1/uploads", json={"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64})
    lighthouse = (
        "The keeper of the lighthouse wrote down every storm. Ada Lovelace wrote to Grace Hopper about it in"
        " London. See [[Compilers]] for more."
    )
    first = client.call("POST", "/v1/documents", json={
        "text": lighthouse, "title": "Lighthouse", "uri": "note:lighthouse", "tags": ["sea", "log"],
        "metadata": {"a": 1},
    })  # fmt: skip
    _wait(client, first)
    made["lighthouse"] = first["document"]["id"]
    changed = {"text": lighthouse + " The storm of 1884 broke the lamp.", "uri": "note:lighthouse"}
    _wait(client, client.call("POST", "/v1/documents", json=changed))
    text = (
        "Grace Hopper wrote a compiler. It is linked from [[Lighthouse]] and said: \U0001f30a \x7f \\ \"quoted\" 'too'."
    )
    _wait(client, client.call("POST", "/v1/documents", json={"text": text, "title": "Compilers"}))
    sample = samples.SampleDocument("Harbour", [("Ships", ["The Mary Ann came in on the 3rd with salt."])])
    pdf = client.call("POST", "/v1/documents", files={"file": ("harbour.pdf", samples.make_pdf(sample))})
    _wait(client, pdf)
    made["pdf"] = pdf["document"]["id"]
    _wait(client, client.call("POST", "/v1/documents", files={"file": ("harbour.docx", samples.make_docx(sample))}))
    members = io.BytesIO()
    with zipfile.ZipFile(members, "w") as file:
        for number in range(3):
            file.writestr(f"log/{number}.txt", f"Day {number}: wind from the north, {number} ships, none of them late.")
    _wait(client, client.call("POST", "/v1/documents", files={"file": ("log.zip", members.getvalue())}))
    broken = client.call("POST", "/v1/documents", files={"file": ("broken.pdf", b"%PDF-1.4 and nothing more")})
    _wait(client, broken)


def _talk(client: Client, made: dict[str, str]) -> None:
    made["session"] = client.call("POST", "/v1/sessions", json={})["id"]
    path, content = f"/v1/sessions/{made['session']}/messages", {"content": "What did the keeper write down?"}
    client.call("POST", path, json=content, headers={"Idempotency-Key": "once"})


def _leave_work(application: Application, workspace_id: str, made: dict[str, str]) -> None:
    """What a process that was stopped in the middle leaves: nothing of it is done yet."""
    relational, files = application.relational, application.files
    with relational.write() as tx:
        new = documents.new_text("Not indexed yet: the tide tables of June.", "Tides", max_characters=1_000)
        made["waiting"] = intake.add_text(tx, workspace_id, new).document.id
        dead = documents.new_text("Its job has died before.", "Dead", max_characters=1_000)
        job = intake.add_text(tx, workspace_id, dead).job
        assert job
        tx.execute("UPDATE jobs SET state = 'dead', error = '{}' WHERE id = :id", {"id": job.id})
        made["dead job"] = job.id
    key, sha256, size = files.put(workspace_id, io.BytesIO(b"This file has to be gone."), 100)
    with relational.write() as tx:
        gone = documents.NewDocument(
            "Gone", sha256, size, filename="gone.txt", file_key=key, text="This file has to be gone."
        )
        made["erasing"] = intake.add_text(tx, workspace_id, gone).document.id
    with relational.write() as tx:
        made["erasure"] = ingestion.erase(tx, workspace_id, made["erasing"]).id
    with relational.write() as tx:
        # Its ingestion is over, or the erasure would wait for it.
        tx.execute(
            "UPDATE jobs SET state = 'succeeded' WHERE document_id = :id AND kind = 'ingest'", {"id": made["erasing"]}
        )


def truth_of(folder: Path) -> AbstractContextManager[tuple[RelationalStore, FileStore]]:
    """Rows and files of an installation, wherever they are."""
    settings = settings_for(folder)
    return truth(folder, settings.files, database_of(settings))


@contextmanager
def stopped(folder: Path) -> Iterator[Application]:
    """Open stores and no worker, so that everything stays as it is."""
    with data_directory(folder):
        application = build(settings_for(folder), folder)
        try:
            yield application
        finally:
            application.close()


def _wait(client: Client, accepted: Mapping[str, Any]) -> None:
    until = time.monotonic() + 60
    while client.call("GET", f"/v1/jobs/{accepted['job']['id']}")["state"] in ("queued", "running"):
        assert time.monotonic() < until
        time.sleep(0.01)


def rows(relational: RelationalStore) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with relational.read() as tx:
        return {
            table.name: [dict(row) for row in tx.all(f"SELECT * FROM {table.name} ORDER BY {', '.join(table.key)}")]
            for table in relational.tables()
        }


def said(client: Client) -> str:
    """All that the questions get to see: passages, scores, answers and citations."""
    told: list[Any] = []
    for question in QUESTIONS:
        for mode in ("hybrid", "lexical", "semantic"):
            try:
                found = client.call("POST", "/v1/search", json={"query": question, "mode": mode, "limit": 20})
            except ProblemError as error:
                told.append(error.body)
            else:
                told.append(found["passages"])
        told.append(client.call("POST", "/v1/ask", json={"question": question}))
    return json.dumps(told, sort_keys=True)


def silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch, "data"))
        with truth_of(Path(scratch, "data")) as (store, originals):
            print(back_up(store, originals, Path(sys.argv[1]).absolute(), progress=silent))
