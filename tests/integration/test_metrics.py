"""What Pegasus measures of itself, and of a workspace for its own people."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from calls import add_text, assert_problem
from conftest import finished
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.bootstrap import build
from pegasus.client import Client
from pegasus.errors import Misconfigured, Unavailable
from pegasus.jobs import service as jobs
from pegasus.server import serving_in_background
from pegasus.settings import load_settings
from pegasus.usage import service as usage

TOKEN = "a-token-of-some-length"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def measured(application: Application) -> Iterator[str]:
    """The address of the shared application with its metrics opened by a token."""
    settings = application.settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    opened = replace(application, settings=settings, stopping=threading.Event())
    with serving_in_background(opened) as address:
        yield address


def scrape(address: str) -> Samples:
    answer = httpx.get(f"{address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


def parsed(text: str) -> Samples:
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


class TestMetrics:
    def test_are_not_there_without_a_token(self, address: str) -> None:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            assert_problem(httpx.get(f"{address}/metrics", headers=headers), 404, "not-found")

    @pytest.mark.parametrize("sent", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, b"Bearer \xff\xfe"])
    def test_are_not_there_for_a_wrong_token(self, measured: str, sent: Any) -> None:
        assert_problem(httpx.get(f"{measured}/metrics", headers={"Authorization": sent}), 404, "not-found")

    def test_count_what_happens(self, measured: str, client: Client) -> None:
        before = scrape(measured)
        finished(client, add_text(client, "The heron stands in the reeds.")["job"]["id"])
        client.call("POST", "/v1/search", json={"query": "heron"})
        after = scrape(measured)
        for name, labels in (
            ("pegasus_jobs_ended_total", {"kind": "ingest", "outcome": "succeeded"}),
            ("pegasus_job_step_seconds_count", {"kind": "ingest", "step": "embed"}),
            ("pegasus_http_request_seconds_count", {"method": "POST", "route": "/v1/search", "status": "200"}),
            ("pegasus_search_stage_seconds_count", {"stage": "lexical"}),
            ("pegasus_search_stage_seconds_count", {"stage": "semantic"}),
            ("pegasus_search_stage_seconds_count", {"stage": "graph"}),
            ("pegasus_search_stage_seconds_count", {"stage": "assemble"}),
        ):
            assert value(after, name, **labels) > value(before, name, **labels), (name, labels)
        for part in ("relational", "vectors", "graph", "files", "search", "workers"):
            assert value(after, "pegasus_ready", part=part) == 1
        assert value(after, "process_resident_memory_bytes") > 0

    def test_name_routes_by_their_templates_and_nothing_that_callers_make_up(
        self, measured: str, client: Client, workspace_id: str
    ) -> None:
        job = add_text(client, "Zaphod keeps the casket.", title="Casket")["job"]
        finished(client, job["id"])
        http = {"base_url": measured, "headers": {"X-API-Key": client._http.headers["x-api-key"]}}
        with httpx.Client(**http) as calls:
            calls.get(f"/v1/jobs/{job['id']}")
            calls.get("/made-up/path")
            calls.request("MADEUP", "/v1/jobs")
            calls.get("/v1/jobs", headers={"X-API-Key": "wrong"})
        samples = scrape(measured)
        count = "pegasus_http_request_seconds_count"
        assert value(samples, count, method="GET", route="/v1/jobs/{job_id}", status="200")
        assert value(samples, count, method="GET", route="none", status="404")
        labels = " ".join(f"{name} {text}" for _, pairs in samples for name, text in pairs)
        for secret in (workspace_id, job["id"], "made-up", "MADEUP", "casket", "Casket"):
            assert secret not in labels

    def test_tell_the_depth_and_the_age_of_the_queues(self, tmp_path: Path) -> None:
        application = build(load_settings(data=tmp_path, embedder="hash"), tmp_path)
        try:
            with application.relational.write() as tx:
                workspace_id = access.create_workspace(tx, "test")
                for n in range(5):
                    jobs.enqueue(tx, workspace_id, "probe", jobs.Lane.READ, f"step {n}")
                first, second, third = [row["id"] for row in tx.all("SELECT id FROM jobs ORDER BY id LIMIT 3")]
                tx.execute("UPDATE jobs SET run_after = run_after - 100 WHERE id = :id", {"id": first})
                tx.execute("UPDATE jobs SET attempts = 1, run_after = run_after + 50 WHERE id = :id", {"id": second})
                tx.execute("UPDATE jobs SET state = 'dead' WHERE id = :id", {"id": third})
            samples = parsed(usage.exposition(application.relational, application.checks).decode())
        finally:
            application.close()
        assert value(samples, "pegasus_jobs", lane="read", state="queued") == 3
        assert value(samples, "pegasus_jobs", lane="read", state="retrying") == 1
        assert 100 <= value(samples, "pegasus_jobs_oldest_seconds", lane="read", state="queued") < 160
        assert value(samples, "pegasus_jobs_oldest_seconds", lane="read", state="retrying") == 0
        assert value(samples, "pegasus_jobs_dead_letters") == 1

    def test_tell_what_does_not_answer_and_go_on(
        self, application: Application, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> Any:
            raise Unavailable("away")

        monkeypatch.setattr(application.relational, "read", away)
        samples = parsed(usage.exposition(application.relational, application.checks).decode())
        assert value(samples, "pegasus_ready", part="relational") == 0
        assert value(samples, "pegasus_ready", part="files") == 1

    def test_want_a_token_that_cannot_be_guessed_and_never_show_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PEGASUS_METRICS_TOKEN", "short-secret")
        with pytest.raises(Misconfigured, match="PEGASUS_METRICS_TOKEN") as told:
            load_settings()
        assert "short-secret" not in str(told.value)
        monkeypatch.setenv("PEGASUS_METRICS_TOKEN", TOKEN)
        assert TOKEN not in repr(load_settings())


class TestUsage:
    def test_of_an_empty_workspace_is_nothing(self, client: Client) -> None:
        found = client.call("GET", "/v1/usage")
        assert set(found["documents"].values()) == set(found["jobs"].values()) == {0}
        assert (found["original_bytes"], found["text_characters"], found["passages"]) == (0, 0, 0)
        assert found["queue"] == {"waiting": 0, "oldest_seconds": None}

    def test_adds_up_what_is_ones_own(self, client: Client) -> None:
        texts = ["Ada Lovelace wrote to Charles Babbage.", "Ein Café am Meer."]
        for text in texts:
            finished(client, add_text(client, text)["job"]["id"])
        broken = client.call("POST", "/v1/documents", files={"file": ("broken.pdf", b"%PDF-1.7 broken")})
        finished(client, broken["job"]["id"])
        found = client.call("GET", "/v1/usage")
        assert (found["documents"]["ready"], found["documents"]["failed"]) == (2, 1)
        assert (found["jobs"]["succeeded"], found["jobs"]["failed"]) == (2, 1)
        assert found["text_characters"] == sum(map(len, texts))
        assert found["original_bytes"] == sum(len(text.encode()) for text in texts) + len(b"%PDF-1.7 broken")
        assert (found["passages"], found["passages_indexed"]) == (2, 2)
        assert found["entities"] >= 2

    def test_tells_how_long_its_own_oldest_job_waits(self, application: Application, workspace_id: str) -> None:
        with application.relational.write() as tx:
            job = jobs.enqueue(tx, workspace_id, "probe", jobs.Lane.READ, "step")
            tx.execute(
                "UPDATE jobs SET attempts = 1, created_at = created_at - 60, run_after = run_after + 600"
                " WHERE id = :id", {"id": job.id},
            )  # fmt: skip
            found = usage.usage(tx, workspace_id)
            jobs.cancel(tx, workspace_id, job.id)
        assert found.jobs[jobs.JobState.QUEUED] == 1
        assert 60 <= (found.oldest_waiting_seconds or 0) < 90
