"""api, worker and scheduler as processes of their own, on PostgreSQL, Redis, Chroma and a Bolt server."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from agents import ecs_agent
from collector import collecting
from origins import Site, respond, web_site
from postgresql import PostgresServer
from redis_server import PASSWORD, RedisServer, redis_server
from servers import PASSWORD as BOLT_PASSWORD
from servers import BoltServer, chroma_server
from several import METRICS_TOKEN, OPERATOR_KEY, Part, Several, several, until

from pegasus.adapters.postgres_walls import EVERY_WORKSPACE
from pegasus.client import Client

pytestmark = pytest.mark.timeout(600)  # Several processes start in each of these; a busy machine takes its time.


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server(password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, bolt: BoltServer, redis: RedisServer
) -> Iterator[dict[str, str]]:
    with chroma_server(tmp_path_factory.mktemp("chroma")) as chroma:
        graph = f"bolt://root:{quote(BOLT_PASSWORD)}@127.0.0.1:{bolt.port}/{bolt.new_database()}"
        yield {
            "DATABASE_URL": postgres_server.url(postgres_server.create()),
            "REDIS_URL": redis.url,
            "PEGASUS_VECTORS_URL": chroma.url,
            "PEGASUS_GRAPH_URL": graph,
        }


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path, servers: dict[str, str], redis: RedisServer, site: Site) -> Iterator[Several]:
    """No process runs yet; the stores are those of the whole module, so that tests add up to an installation."""
    redis.command("FLUSHALL")
    host = site.address.removeprefix("http://")
    files = str(Path(servers.setdefault("PEGASUS_FILES_URL", str(tmp_path / "files"))))
    with several(tmp_path / "processes", **{**servers, "PEGASUS_FILES_URL": files}, PEGASUS_FETCH_ALLOWED_HOSTS=host,
                 PEGASUS_JOB_LEASE_SECONDS="5") as running:  # fmt: skip
        yield running
        for part in running.parts:
            assert "Traceback" not in part.log, part.log[-3000:]


class Held:
    """Pages that are not answered until the test says so: jobs that are in hand for as long as it likes."""

    def __init__(self, site: Site, client: Client, number: int) -> None:
        self._gate = threading.Event()
        self._site = site
        self.paths = [f"/{time.time_ns()}-{n}" for n in range(number)]
        for path in self.paths:
            site.answers[path] = self._answer
        sources = [
            client.call("POST", "/v1/sources", json={"name": path, "origin": {"kind": "page", "url": site.url(path)}})
            for path in self.paths
        ]
        self.jobs = [client.call("POST", f"/v1/sources/{source['id']}/run")["job"]["id"] for source in sources]

    def _answer(self, request: Any) -> None:
        assert self._gate.wait(120)
        respond(request, 200, f"<h1>Page</h1><p>Held {request.path}</p>".encode(), {"Content-Type": "text/html"})

    def asked_for(self, times: int = 1) -> bool:
        asked = [path for path, _ in self._site.requests if path in self.paths]
        return all(asked.count(path) >= times for path in self.paths)

    def release(self) -> None:
        self._gate.set()


def add(client: Client, text: str) -> str:
    job: str = client.call("POST", "/v1/documents", json={"title": "A note", "text": text})["job"]["id"]
    return job


def settled(client: Client, job_ids: list[str], seconds: float = 90) -> None:
    waiting, end = list(job_ids), time.monotonic() + seconds
    while waiting:
        job = client.call("GET", f"/v1/jobs/{waiting[0]}")
        assert job["state"] not in ("failed", "dead", "cancelled"), job
        assert time.monotonic() < end, f"{len(waiting)} jobs are unfinished, such as {job}"
        if job["state"] == "succeeded":
            waiting.pop(0)
        else:
            time.sleep(0.05)


def rows(installation: Several, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(installation.settings["DATABASE_URL"]) as connection:
        connection.execute(f"SET pegasus.workspace = '{EVERY_WORKSPACE}'")
        return connection.execute(sql, values).fetchall()


def scraped(part: Part) -> dict[str, float]:
    answer = httpx.get(f"{part.address}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}, timeout=30)
    assert answer.status_code == 200
    lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {name: float(number) for name, number in lines}


def test_what_one_process_accepts_a_second_indexes_and_a_third_answers(installation: Several) -> None:
    api, other, worker, scheduler = installation.start("api", "api", "worker", "scheduler")
    client = api.client()
    settled(client, [add(client, "The quick zebra came to Athens by night.")])
    found = other.client().call("POST", "/v1/search", json={"query": "zebra", "mode": "semantic"})
    assert "zebra" in found["passages"][0]["text"]

    began = [add(client, f"Note {n} is quickly begun.") for n in range(20)]
    settled(client, began)
    waits = rows(installation, "SELECT started_at - created_at FROM jobs WHERE id = ANY(%s) ORDER BY 1", began)
    assert waits[10][0] < 1.0, f"it is rung for at once, not found at the next look: {waits}"

    for part in (api, worker, scheduler):
        assert httpx.get(f"{part.address}/health", timeout=30).status_code == 200
        ready = httpx.get(f"{part.address}/ready", timeout=30).json()
        assert ready["ready"], ready
    assert httpx.get(f"{worker.address}/v1/documents", timeout=30).status_code == 404, "a worker serves no users"
    assert httpx.get(f"{worker.address}/metrics", timeout=30).status_code == 404, "nor what it measures, to anybody"
    # A source by the command line, in a process of its own that is no worker.
    folder = installation.folder / "notes"
    folder.mkdir()
    (folder / "one.md").write_text("# One\n\nFrom a folder of this machine.")
    assert installation.run("sources", "add", "notes", str(folder)).returncode == 0
    ran = installation.run("pipeline", "run", "--source", "notes")
    assert ran.returncode == 0, ran.stderr
    assert installation.run(
        "search", "folder of this machine", PEGASUS_URL=api.address, PEGASUS_KEY=OPERATOR_KEY
    ).stdout
    checked = installation.run("check", PEGASUS_URL=api.address, PEGASUS_KEY=OPERATOR_KEY)
    assert checked.returncode == 0, checked.stdout
    assert [part.end() for part in (worker, scheduler, api, other)] == [0, 0, 0, 0]


def test_jobs_begin_by_the_bell_alone_over_tls_and_as_a_user_of_their_own(installation: Several) -> None:
    """As on AWS. Without a scheduler nobody else looks: what was not rung for never begins."""
    with redis_server(user="peg@sus", password=PASSWORD, tls=True) as broker:
        api, _ = installation.start("api", "worker", REDIS_URL=f"{broker.url}?ssl_ca_certs={broker.certificate}")
        client = api.client()
        settled(client, [add(client, "The first note rings over TLS.")])
        listened = times_listened(broker)
        # So long that its connection, which has been idle, was looked at too.
        until(lambda: times_listened(broker) > listened + 6, "the worker listens again and again")
        later = [add(client, f"Note {n} rings over TLS, too.") for n in range(3)]
        settled(client, later)
        waits = rows(installation, "SELECT started_at - created_at FROM jobs WHERE id = ANY(%s) ORDER BY 1", later)
        assert waits[1][0] < 1.0, waits


def times_listened(broker: RedisServer) -> int:
    """For a second each."""
    found = re.search(r"cmdstat_brpop:calls=(\d+)", broker.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


def test_a_trace_goes_on_in_the_worker_and_a_revoked_key_opens_no_process(installation: Several) -> None:
    with collecting() as collector:
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        api, other, *_ = installation.start("api", "api", "worker", "scheduler", **tracing, PEGASUS_TRACE_RATIO="0")
        client = api.client()
        made = client.call("POST", "/v1/keys", json={"name": "passing", "scope": "write"})
        headers = {"X-API-Key": made["key"], "traceparent": f"00-{'0af7' * 8}-{'b7ad' * 4}-01"}
        body = {"title": "A note", "text": "The lantern stands under the northern quay."}
        added = httpx.post(f"{api.address}/v1/documents", json=body, headers=headers, timeout=30)
        settled(client, [added.json()["job"]["id"]])
        collector.named("POST /v1/documents")
        job = collector.named("job ingest embed")
        assert job.trace_id.hex() == "0af7" * 8
        assert job.parent_span_id in {span.span_id for span in collector.spans}  # The write that added the document.

        known = {"X-API-Key": made["key"]}
        assert [httpx.get(f"{at.address}/v1/documents", headers=known).status_code for at in (api, other)] == [200, 200]
        client.call("DELETE", f"/v1/keys/{made['id']}")
        assert [httpx.get(f"{at.address}/v1/documents", headers=known).status_code for at in (other, api)] == [401, 401]


def test_the_api_accepts_while_the_broker_is_away_and_workers_outlive_it(
    installation: Several, redis: RedisServer
) -> None:
    api, worker, scheduler = installation.start("api", "worker", "scheduler")
    client = api.client()
    settled(client, [add(client, "Before the broker goes.")])
    redis.kill()
    try:
        took, jobs = [], []
        for n in range(50):
            begun = time.perf_counter()
            jobs.append(add(client, f"Accepted without a broker, {n}."))
            took.append(time.perf_counter() - begun)
        assert sorted(took)[45] < 2.0, f"nobody waits for a broker: {took}"
        assert client.call("GET", "/ready")["ready"]
        assert httpx.get(f"{scheduler.address}/ready", timeout=30).status_code == 503
        told = scraped(scheduler)
        assert told["pegasus_queue_reachable"] == 0.0
        assert told['pegasus_queue_depth{lane="index"}'] >= 40, "the outbox is counted without a broker"
        # Whatever starts now does so without it.
        (late,) = installation.start("api")
        jobs.append(add(late.client(), "By an API that has never seen the broker."))
        assert worker.runs
    finally:
        redis.start()
    settled(client, jobs)
    until(lambda: scraped(scheduler)['pegasus_queue_depth{lane="index"}'] == 0.0, "nothing waits any more")


@pytest.mark.server
def test_an_emptied_broker_loses_nothing(installation: Several, redis: RedisServer) -> None:
    # Nobody consumes yet: what was published is with the broker when that loses all it has.
    (api,) = installation.start("api")
    client = api.client()
    jobs = [add(client, f"Published and lost, {n}.") for n in range(10)]
    until(lambda: scraped(api)['pegasus_queue_messages{lane="index",state="waiting"}'] >= 1, "published")
    redis.command("FLUSHALL")
    worker, scheduler = installation.start("worker", "scheduler")
    settled(client, jobs)
    # And once more while all of them are connected.
    for round_ in range(3):
        jobs = [add(client, f"Round {round_}, note {n}.") for n in range(10)]
        redis.command("FLUSHALL")
        settled(client, jobs)
    assert worker.runs
    assert scheduler.runs


def test_jobs_of_killed_workers_are_done_by_others_once(installation: Several, site: Site) -> None:
    kill_workers(installation, site, 1)


@pytest.mark.server
@pytest.mark.timeout(3_600)
def test_fifty_killed_workers_lose_nothing(installation: Several, site: Site) -> None:
    kill_workers(installation, site, 50)


def kill_workers(installation: Several, site: Site, kills: int) -> None:
    api, _ = installation.start("api", "scheduler")
    client = api.client()
    for _ in range(kills):
        (victim,) = installation.start("worker", PEGASUS_WORKER_LANES="fetch:4")
        held = Held(site, client, 4)
        until(held.asked_for, "four jobs are in flight")
        assert victim.end(signal.SIGKILL) == -signal.SIGKILL
        (other,) = installation.start("worker", PEGASUS_WORKER_LANES="read:1,index:1,fetch:4")
        until(lambda held=held: held.asked_for(2), "another worker has them")
        held.release()
        settled(client, held.jobs)
        for job_id in held.jobs:
            job = client.call("GET", f"/v1/jobs/{job_id}")
            assert [one["outcome"] for one in job["history"]] == ["lost"]
            assert job["result"] is None or job["progress"]["total"] == 1
        assert other.end() == 0
    documents = rows(installation, "SELECT count(*), count(DISTINCT uri) FROM document_uris WHERE uri LIKE %s",
                     f"{site.address}%")  # fmt: skip
    assert documents == [(4 * kills, 4 * kills)], "each page is one document"


@pytest.mark.server
def test_a_worker_that_is_stopped_finishes_or_hands_back(installation: Several, site: Site) -> None:
    api, _ = installation.start("api", "scheduler")
    client = api.client()
    with ecs_agent() as agent:
        first, second = installation.start(
            "worker", "worker", PEGASUS_WORKER_LANES="fetch:2", PEGASUS_DRAIN_SECONDS="2", ECS_AGENT_URI=agent.address
        )
        held = Held(site, client, 2)
        until(held.asked_for, "both are in hand")
        until(lambda: agent.protected, "scale-in spares who has work in hand")
        for part in (first, second):  # Whoever of them has the jobs hands them back; nobody is left to take them.
            part.send(signal.SIGTERM)
        assert [part.wait() for part in (first, second)] == [0, 0]
        states = rows(
            installation, "SELECT state, lease_owner, crashes, attempts FROM jobs WHERE id = ANY(%s)", held.jobs
        )
        assert states == [("queued", None, 0, 0)] * 2, "at once, and not when a lease has ended"
        (third,) = installation.start("worker", PEGASUS_DRAIN_SECONDS="60", ECS_AGENT_URI="http://127.0.0.1:9/nobody")
        until(lambda: held.asked_for(2), "others begin")
        third.send(signal.SIGTERM)
        time.sleep(6)  # Longer than a lease: it is kept by who finishes.
        assert third.runs
        held.release()
        assert third.wait() == 0
        for job_id in held.jobs:
            job = client.call("GET", f"/v1/jobs/{job_id}")
            assert (job["state"], job["history"]) == ("queued", []), (
                f"its step was finished, the next is others': {job}"
            )
    (fourth,) = installation.start("worker")
    settled(client, held.jobs)
    assert fourth.end() == 0


@pytest.mark.server
def test_a_rolling_restart_under_load_fails_no_request(installation: Several) -> None:
    apis = installation.start("api", "api", PEGASUS_LINGER_SECONDS="1")
    workers = installation.start("worker")
    installation.start("scheduler")
    stopping, accepted, failures = threading.Event(), [], []
    serving = list(apis)

    def load(number: int) -> None:
        """As behind a load balancer: who refuses a connection, or has ended it before an answer, is left alone."""
        n = 0
        with httpx.Client(headers={"X-API-Key": OPERATOR_KEY}, timeout=60) as http:
            while not stopping.is_set():
                n += 1
                for part in [*serving[number % 2 :], *serving[: number % 2]]:
                    try:
                        answer = http.post(
                            f"{part.address}/v1/documents",
                            json={"title": "Load", "text": f"Under load {number}-{n}-{time.time_ns()}."},
                            headers={"Idempotency-Key": f"{number}-{n}"},
                        )
                    except httpx.ConnectError:
                        continue
                    except httpx.TransportError as error:
                        failures.append(repr(error))
                    else:
                        if answer.status_code != 202:
                            failures.append(answer.text)
                        accepted.append(answer.json()["job"]["id"])
                    break
                else:
                    failures.append("nobody took it")

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, number) for number in range(4)]
        try:
            until(lambda: len(accepted) > 10, "there is load")
            for old in apis:
                (new,) = installation.start("api", PEGASUS_LINGER_SECONDS="1")
                serving.append(new)
                old.send(signal.SIGTERM)
                until(lambda old=old: _not_ready(old), "it says so")
                serving.remove(old)
                assert old.wait() == 0
            for old in workers:
                installation.start("worker")
                assert old.end() == 0
            more = len(accepted) + 10
            until(lambda: len(accepted) > more, "it goes on")
        finally:
            stopping.set()
        for one in loads:
            one.result(60)
    assert failures == []
    settled(serving[0].client(), accepted[-5:], 120)
    until(
        lambda: rows(installation, "SELECT count(*) FROM jobs WHERE state <> 'succeeded'") == [(0,)], "all is done", 120
    )
    doubled = rows(installation, "SELECT sha256 FROM document_versions GROUP BY sha256 HAVING count(*) > 1")
    assert doubled == []


def _not_ready(part: Part) -> bool:
    try:
        return httpx.get(f"{part.address}/ready", timeout=30).status_code == 503
    except httpx.ConnectError:
        return True


@pytest.mark.server
def test_two_schedulers_do_no_harm(installation: Several, site: Site) -> None:
    site.text("/often", "Often", "Looked at each second.")
    api, _, first, second = installation.start("api", "worker", "scheduler", "scheduler")
    client = api.client()
    origin = {"kind": "page", "url": site.url("/often")}
    source = client.call("POST", "/v1/sources", json={"name": "often", "origin": origin, "every_seconds": 60})
    runs = f"/v1/sources/{source['id']}/runs"
    until(lambda: client.call("GET", runs)["items"], "it ran by itself")
    time.sleep(2.5)  # Several looks of both.
    assert len(client.call("GET", runs)["items"]) == 1
    assert first.end() == 0
    client.call("DELETE", f"/v1/sources/{source['id']}")
    settled(client, [add(client, "With the other one.")])
    assert second.end() == 0
