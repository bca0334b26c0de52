"""Jobs over HTTP: list, follow, results, retry, cancel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from calls import add_text, assert_problem, events_of, walk
from conftest import finished

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.bootstrap import embedded
from pegasus.client import Client
from pegasus.domain import Lane
from pegasus.jobs import service as jobs_service
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

UNKNOWN = "0198c3f2-6d3e-7c41-9b3a-0c1de87cd9d1"


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """A Pegasus whose workers have stopped, so that a job stays as it is."""
    directory: Path = tmp_path_factory.mktemp("idle")
    with embedded(load_settings(data=directory, embedder="hash")) as running:
        for worker in running.workers:
            worker.ask_to_stop()
            worker.join(10)
        yield running


@pytest.fixture(scope="module")
def idle_address(idle: Application) -> Iterator[str]:
    with serving_in_background(idle) as address:
        yield address


@pytest.fixture
def idle_http(idle: Application, idle_address: str) -> Iterator[httpx.Client]:
    with idle.relational.write() as tx:
        _, key = access.create_key(tx, access.create_workspace(tx, "test"), "test")
    with httpx.Client(timeout=60, base_url=idle_address, headers={"X-API-Key": key}) as made:
        yield made


def queued(http: httpx.Client, text: str = "A note that waits.") -> dict:
    job: dict = http.post("/v1/documents", json={"text": text}).json()["job"]
    return job


class TestList:
    def test_walks_everything_exactly_once_newest_first(self, client: Client) -> None:
        jobs = [add_text(client, f"Note {n}.")["job"]["id"] for n in range(5)]
        assert walk(client, "/v1/jobs") == jobs[::-1]

    def test_is_filtered_by_state_and_document(self, idle_http: httpx.Client) -> None:
        first, second = queued(idle_http, "One."), queued(idle_http, "Two.")
        idle_http.post(f"/v1/jobs/{second['id']}/cancel")

        def listed(**filters: str) -> list[str]:
            return [job["id"] for job in idle_http.get("/v1/jobs", params=filters).json()["items"]]

        assert listed(state="queued") == [first["id"]]
        assert listed(state="cancelled") == [second["id"]]
        assert listed(state="dead") == []
        assert listed(document_id=first["document_id"]) == [first["id"]]
        assert listed(document_id=first["document_id"], state="cancelled") == []

    def test_of_an_unknown_state_is_a_422(self, http: httpx.Client) -> None:
        assert_problem(http.get("/v1/jobs?state=asleep"), 422, "invalid")


class TestRead:
    def test_tells_state_progress_and_attempts(self, client: Client) -> None:
        added = add_text(client, "A short note.")
        job = finished(client, added["job"]["id"])
        assert (job["kind"], job["state"], job["document_id"], job["version"]) == (
            "ingest",
            "succeeded",
            added["document"]["id"],
            1,
        )
        assert job["progress"] == {"done": 1, "total": 1}
        assert job["error"] is None
        assert job["attempts"] == 1

    def test_tells_of_the_attempts_that_ended_badly(self, client: Client) -> None:
        added = client.call("POST", "/v1/documents", files={"file": ("broken.pdf", b"%PDF-1.7 broken")})
        job = finished(client, added["job"]["id"])
        (attempt,) = job["history"]
        assert (attempt["number"], attempt["step"], attempt["outcome"]) == (1, "extract", "failed")
        assert attempt["error"] == job["error"]
        assert attempt["worker"].startswith("read-")
        assert attempt["started_at"] <= attempt["ended_at"]


class TestEvents:
    def test_follow_a_job_until_it_is_done(self, client: Client, http: httpx.Client) -> None:
        text = "\n\n".join(f"Paragraph {n} is about the number {n} and its {n * 7} friends." for n in range(400))
        job = add_text(client, text)["job"]
        with http.stream("GET", f"/v1/jobs/{job['id']}/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            events = list(events_of(response))
        names = [name for name, _ in events if name != ":"]
        assert events[0][0] == ":"
        assert names[-1] == "done"
        assert names[0] == "progress"
        assert set(names[:-1]) == {"progress"}
        assert events[-1][1] == client.call("GET", f"/v1/jobs/{job['id']}")

    def test_of_a_finished_job_are_just_done(self, client: Client, http: httpx.Client) -> None:
        job = finished(client, add_text(client, "Done already.")["job"]["id"])
        with http.stream("GET", f"/v1/jobs/{job['id']}/events") as response:
            assert [name for name, _ in events_of(response)] == [":", "done"]


class TestResults:
    def test_of_a_single_document_are_empty(self, client: Client, http: httpx.Client) -> None:
        job = finished(client, add_text(client, "Alone.")["job"]["id"])
        assert http.get(f"/v1/jobs/{job['id']}/results").text == ""

    def test_of_a_large_batch_have_each_item_once(self, idle_http: httpx.Client) -> None:
        lines = "\n".join(json.dumps({"text": f"Item {n}."}) for n in range(1, 604))
        job = idle_http.post("/v1/documents/batch", content=lines).json()["job"]
        assert job["state"] == "running"
        items = [json.loads(line) for line in idle_http.get(f"/v1/jobs/{job['id']}/results").iter_lines()]
        assert [item["ordinal"] for item in items] == list(range(1, 604))
        assert {item["state"] for item in items} == {"queued"}
        assert len({item["document_id"] for item in items}) == 603


class TestRetryAndCancel:
    def test_a_queued_job_can_be_cancelled_once(self, idle_http: httpx.Client) -> None:
        job = queued(idle_http)
        assert idle_http.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
        assert_problem(idle_http.post(f"/v1/jobs/{job['id']}/cancel"), 409, "conflict")

    def test_the_document_of_a_cancelled_job_says_so(self, idle_http: httpx.Client) -> None:
        job = queued(idle_http)
        idle_http.post(f"/v1/jobs/{job['id']}/cancel")
        document = idle_http.get(f"/v1/documents/{job['document_id']}").json()
        assert (document["state"], "cancelled" in document["error"]["detail"]) == ("searchable", True)

    def test_dead_letters_are_queued_again_all_at_once_and_only_ones_own(
        self, idle: Application, idle_http: httpx.Client
    ) -> None:
        jobs = [queued(idle_http, f"Note {n}.")["id"] for n in range(3)]
        with idle.relational.write() as tx:
            others = access.create_workspace(tx, "others")
            other = jobs_service.enqueue(tx, others, "ingest", Lane.INDEX, "embed").id
            for id_ in (*jobs[:2], other):
                tx.execute("UPDATE jobs SET state = 'dead' WHERE id = :id", {"id": id_})
        assert idle_http.post("/v1/jobs/retry", params={"kind": "erase"}).json() == {"retried": 0}
        assert idle_http.post("/v1/jobs/retry", params={"kind": "ingest"}).json() == {"retried": 2}
        assert idle_http.get("/v1/jobs?state=dead").json()["items"] == []
        with idle.relational.read() as tx:
            assert jobs_service.get(tx, others, other).state == "dead"

    def test_a_cancelled_job_can_be_retried_once(self, idle_http: httpx.Client) -> None:
        job = queued(idle_http)
        idle_http.post(f"/v1/jobs/{job['id']}/cancel")
        assert idle_http.post(f"/v1/jobs/{job['id']}/retry").json()["state"] == "queued"
        assert_problem(idle_http.post(f"/v1/jobs/{job['id']}/retry"), 409, "conflict")

    def test_a_finished_job_can_neither_be_cancelled_nor_retried(self, client: Client, http: httpx.Client) -> None:
        job = finished(client, add_text(client, "Done.")["job"]["id"])
        assert_problem(http.post(f"/v1/jobs/{job['id']}/cancel"), 409, "conflict")
        assert_problem(http.post(f"/v1/jobs/{job['id']}/retry"), 409, "conflict")
        assert client.call("GET", f"/v1/jobs/{job['id']}") == job

    def test_an_erasure_cannot_be_cancelled(self, idle_http: httpx.Client) -> None:
        document = queued(idle_http)["document_id"]
        erasure = idle_http.delete(f"/v1/documents/{document}").json()["job"]
        assert_problem(idle_http.post(f"/v1/jobs/{erasure['id']}/cancel"), 409, "conflict")
        assert_problem(idle_http.delete(f"/v1/documents/{document}"), 409, "conflict")

    def test_a_failed_job_is_tried_again_and_fails_again(self, client: Client, http: httpx.Client) -> None:
        added = http.post("/v1/documents", files={"file": ("broken.pdf", b"%PDF-1.7 broken")}).json()
        assert finished(client, added["job"]["id"])["state"] == "failed"
        again = http.post(f"/v1/jobs/{added['job']['id']}/retry")
        assert (again.json()["state"], again.json()["error"]) == ("queued", None)
        job = finished(client, added["job"]["id"])
        assert (job["state"], job["attempts"]) == ("failed", 1)

    def test_a_batch_has_nothing_of_its_own_to_retry(self, client: Client, http: httpx.Client) -> None:
        job = finished(client, http.post("/v1/documents/batch", content=b'{"text": "One."}').json()["job"]["id"])
        assert_problem(http.post(f"/v1/jobs/{job['id']}/retry"), 409, "conflict")

    def test_a_cancelled_batch_takes_its_waiting_items_along(self, idle_http: httpx.Client) -> None:
        body = b'{"text": "First."}\n{"text": "Second."}'
        job = idle_http.post("/v1/documents/batch", content=body).json()["job"]
        assert idle_http.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
        assert idle_http.get("/v1/jobs?state=queued").json()["items"] == []

    def test_a_batch_whose_last_item_is_cancelled_ends(self, idle_http: httpx.Client) -> None:
        job = idle_http.post("/v1/documents/batch", content=b'{"text": "Only."}').json()["job"]
        (item,) = idle_http.get("/v1/jobs?state=queued").json()["items"]
        assert item["parent_id"] == job["id"]
        idle_http.post(f"/v1/jobs/{item['id']}/cancel")
        assert idle_http.get(f"/v1/jobs/{job['id']}").json()["state"] == "succeeded"
