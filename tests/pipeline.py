"""A Pegasus whose workspaces may read a folder of the test's, for tests of sources."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import finished

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

Json = dict[str, Any]


@dataclass
class Workspace:
    client: Client
    id: str

    def add(self, name: str, origin: Json, **fields: Any) -> str:
        source: Json = self.client.call("POST", "/v1/sources", json={"name": name, "origin": origin, **fields})
        return str(source["id"])

    def run(self, source_id: str, *, confirm: bool = False) -> Json:
        """The report of a run that has come to its end."""
        path = f"/v1/sources/{source_id}/run" + ("?confirm=true" if confirm else "")
        return self.report(self.client.call("POST", path)["job"]["id"], source_id)

    def report(self, job_id: str, source_id: str) -> Json:
        finished(self.client, job_id)
        self._follow_erasures(job_id)
        (run,) = [r for r in self.client.call("GET", f"/v1/sources/{source_id}/runs")["items"] if r["id"] == job_id]
        return dict(run)

    def remove(self, source_id: str) -> Json:
        """The job that has erased the documents of the source."""
        job_id = self.client.call("DELETE", f"/v1/sources/{source_id}?documents=erase")["job"]["id"]
        job = finished(self.client, job_id)
        self._follow_erasures(job_id)
        return job

    def _follow_erasures(self, job_id: str) -> None:
        for item in self.client.lines(f"/v1/jobs/{job_id}/results"):
            if item["outcome"] == "erased":
                assert finished(self.client, item["job_id"])["state"] == "succeeded"

    def counts(self, source_id: str, *, confirm: bool = False) -> Json:
        """Of a run that succeeded, what is not zero."""
        run = self.run(source_id, confirm=confirm)
        assert (run["state"], run["error"]) == ("succeeded", None)
        names = ("created", "updated", "unchanged", "erased", "failed", "held")
        return {name: run[name] for name in names if run[name]}

    def documents(self) -> list[Json]:
        found: list[Json] = self.client.call("GET", "/v1/documents?limit=200")["items"]
        return found

    def uris(self) -> set[str]:
        return {document["uri"] for document in self.documents()}

    def text(self, uri: str) -> str:
        (document,) = self.client.call("GET", "/v1/documents", params={"uri": uri})["items"]
        return str(self.client.call("GET", f"/v1/documents/{document['id']}/content")["text"])

    def finds(self, word: str) -> int:
        body = {"query": word, "mode": "lexical"}
        return len({p["document_id"] for p in self.client.call("POST", "/v1/search", json=body)["passages"]})


@dataclass
class Pipeline:
    application: Application
    address: str
    folder: Path  # below it every workspace may have sources
    operator: Workspace

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        with self.application.relational.write() as tx:
            workspace_id = access.create_workspace(tx, "test")
            _, key = access.create_key(tx, workspace_id, "test")
        client = Client(self.address, key)
        yield Workspace(client, workspace_id)
        client.close()


@contextmanager
def pipeline(directory: Path, **settings: Any) -> Iterator[Pipeline]:
    folder = (directory / "origins").resolve()
    folder.mkdir()
    data = directory / "data"
    chosen = {"embedder": "hash", "source_folders": str(folder), "fetch_allowed_hosts": "127.0.0.1", **settings}
    with embedded(load_settings(data=data, **chosen), scheduled=True) as application:
        local = local_access(application, data)
        with serving_in_background(application) as address:
            client = Client(address, local.key)
            yield Pipeline(application, address, folder, Workspace(client, local.workspace_id))
            client.close()
