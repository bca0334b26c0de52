"""Redis away, slow, wiped, full, lying or locked: it refuses no request, holds none up, and is used when it is back."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from processes import ServerProcess
from redis_server import PASSWORD, Proxy, RedisServer, connected, proxy, redis_cluster, redis_server, wait_until

from pegasus.access import service as access
from pegasus.access.doorkeeper import Doorkeeper, Rates
from pegasus.adapters.memory_limiter import InMemoryRateLimiter
from pegasus.adapters.redis_cache import RedisCache
from pegasus.adapters.redis_connection import RedisConnection
from pegasus.adapters.redis_limiter import RedisRateLimiter
from pegasus.application import Application
from pegasus.bootstrap import embedded, local_access
from pegasus.client import Client
from pegasus.domain import Rate
from pegasus.errors import Unavailable
from pegasus.ports import RateLimiter
from pegasus.server import serving_in_background
from pegasus.settings import load_settings

RATE = Rate(6, "hour")
GENEROUS = Rate(100_000, "minute")
# A call waits for a quarter of a second. What is asserted is this, and what is shown is that it is no longer wait
# that is in the nature of the trouble.
AT_MOST_SECONDS, IN_ITS_NATURE = 5.0, 30.0


@contextmanager
def opened(url: str, **options: float) -> Iterator[tuple[RedisConnection, RedisRateLimiter]]:
    with closing(connected(url, **{"retry_seconds": 0.1, **options})) as connection:
        yield connection, RedisRateLimiter(connection, otherwise=InMemoryRateLimiter())


@contextmanager
def through(server: RedisServer) -> Iterator[tuple[Proxy, str]]:
    """Something between us and it that can do harm."""
    with proxy(server.port) as between:
        yield between, server.url.replace(str(server.port), str(between.port))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One to do harm to."""
    with redis_server(password=PASSWORD) as one:
        yield one


def is_back(connection: RedisConnection) -> bool:
    with suppress(Unavailable):
        connection.check()
        return True
    return False


def reason(connection: RedisConnection) -> str:
    with pytest.raises(Unavailable) as raised:
        connection.check()
    assert "PEGASUS_CACHE_URL" in (raised.value.hint or "")
    return raised.value.detail


def timed(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def holds(limiter: RateLimiter, subject: str) -> bool:
    """Whether a subject gets its whole rate, and no more."""
    return [limiter.take(subject, RATE).granted for _ in range(7)] == [True] * 6 + [False]


# --- Away


def test_absent_at_the_start_it_is_used_once_it_is_there(server: RedisServer) -> None:
    server.stop()
    with opened(server.url) as (connection, limiter):
        assert "refused" in reason(connection)
        assert holds(limiter, "a")
        server.start()
        wait_until(lambda: is_back(connection))
        assert holds(limiter, "a")
        assert server.keys("pegasus:limit:*") == ["pegasus:limit:{a}"]


@pytest.mark.parametrize("trouble", ["stop", "kill", "pause"])
def test_gone_in_mid_work_and_back(server: RedisServer, trouble: str) -> None:
    with opened(server.url) as (connection, limiter), hammered(limiter) as took:
        wait_until(lambda: len(took) > 200)
        getattr(server, trouble)()
        wait_until(lambda: not is_back(connection))
        before = len(took)
        wait_until(lambda: len(took) > before + 1_000)  # As quick as ever: nobody asks who is known to be away.
        assert holds(limiter, "in this process")
        if trouble == "pause":
            server.resume()
        else:
            server.start()
        wait_until(lambda: is_back(connection))
        before = len(took)
        wait_until(lambda: len(took) > before + 200)
        assert holds(limiter, "in Redis")
        assert "pegasus:limit:{in Redis}" in server.keys("pegasus:limit:*")
    assert max(took) < AT_MOST_SECONDS


@contextmanager
def hammered(limiter: RateLimiter, threads: int = 4) -> Iterator[list[float]]:
    """Requests without end; how long each took. One that raises, or is refused, is a failure."""
    took: list[float] = []
    failed: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                begun = time.monotonic()
                assert limiter.take("hammer", GENEROUS).granted
                took.append(time.monotonic() - begun)
                time.sleep(0.0005)
        except BaseException as error:  # noqa: BLE001 - told below, on the thread of the test.
            failed.append(error)

    hammers = [threading.Thread(target=ask) for _ in range(threads)]
    for hammer in hammers:
        hammer.start()
    try:
        yield took
    finally:
        stop.set()
        for hammer in hammers:
            hammer.join()
        assert not failed


def test_a_wait_is_paid_once_and_not_by_each_request(server: RedisServer) -> None:
    with opened(server.url, retry_seconds=60) as (_, limiter):
        limiter.take("a", GENEROUS)
        server.pause()
        first = timed(lambda: limiter.take("a", GENEROUS))
        others = timed(lambda: [limiter.take("a", GENEROUS) for _ in range(1_000)])
        server.resume()
        assert 0.2 < first < AT_MOST_SECONDS
        assert others < AT_MOST_SECONDS  # It would be minutes.


def test_what_was_not_answered_is_not_sent_again(server: RedisServer) -> None:
    """It may have been counted all the same, and nobody shall pay for it twice."""
    with opened(server.url) as (connection, limiter):
        assert limiter.take("a", RATE).remaining == 5
        server.pause()
        assert limiter.take("a", RATE).remaining == 5  # In this process.
        server.resume()
        wait_until(lambda: is_back(connection))
        assert limiter.take("a", RATE).remaining in (3, 4)


def test_connections_that_were_cut_are_made_again_without_a_word(
    server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with proxy(server.port) as between, opened(server.url.replace(str(server.port), str(between.port))) as (_, limiter):
        for _ in range(5):
            limiter.take("a", RATE)
            between.cut()
            wait_until(lambda: not between.connections)
        assert limiter.take("a", RATE).remaining == 0
    assert "redis.away" not in capfd.readouterr().err


def test_connecting_holds_nobody_up_whatever_takes_its_time(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a name server does that has gone silent: no time limit of a socket helps there."""
    goes_on = threading.Event()

    def asked(*arguments: object, **options: object) -> object:
        goes_on.wait(IN_ITS_NATURE)
        return real(*arguments, **options)

    real = socket.getaddrinfo
    with through(server) as (between, url), opened(url) as (_, limiter):
        limiter.take("a", RATE)
        monkeypatch.setattr(socket, "getaddrinfo", asked)
        between.cut()
        wait_until(lambda: not between.connections)
        assert timed(lambda: limiter.take("a", RATE)) < AT_MOST_SECONDS
        goes_on.set()


def test_a_start_waits_only_so_long_for_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        with opened(url) as (_, limiter):
            assert time.monotonic() - begun < AT_MOST_SECONDS
            assert holds(limiter, "a")


# --- There, and of no use


def test_one_that_is_slow_is_asked_no_more_until_it_is_quick(server: RedisServer) -> None:
    with through(server) as (between, url):
        with opened(url, wait_seconds=1) as (connection, limiter):
            limiter.take("a", GENEROUS)
            between.delay_seconds = 0.12  # In time, but more than a fifth of it.
            until, took = time.monotonic() + 3, []
            while time.monotonic() < until:
                took.append(timed(lambda: limiter.take("a", GENEROUS)))
                time.sleep(0.001)
            assert 1 <= sum(seconds > 0.2 for seconds in took) <= 4  # It stays away for as long as it is slow.
            wait_until(lambda: "to answer" in reason(connection))
            between.delay_seconds = 0.0
            wait_until(lambda: is_back(connection))
        with opened(url) as (connection, limiter):
            between.delay_seconds = 1.0  # Not in time.
            assert timed(lambda: [limiter.take("a", GENEROUS) for _ in range(100)]) < IN_ITS_NATURE
            between.delay_seconds = 0.0
            wait_until(lambda: is_back(connection))


def test_one_that_was_wiped_counts_anew_and_refuses_nobody(server: RedisServer) -> None:
    with opened(server.url) as (connection, limiter):
        assert holds(limiter, "a")
        server.command("FLUSHALL")
        assert holds(limiter, "a")
        server.command("SCRIPT", "FLUSH")
        assert not limiter.take("a", RATE).granted
        connection.check()


def test_one_that_is_full_or_for_reading_only_is_not_relied_on(server: RedisServer) -> None:
    with opened(server.url) as (connection, limiter):
        for harm, mend in (
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        ):
            assert server.command(*harm) == "+OK"
            assert holds(limiter, f"with {harm[0]}")
            assert reason(connection)
            assert server.command(*mend) == "+OK"
            wait_until(lambda: is_back(connection))


def test_what_somebody_else_keeps_under_our_names_is_overwritten_or_done_without(server: RedisServer) -> None:
    server.command("SET", "pegasus:limit:{a}", "nonsense")
    server.command("RPUSH", "pegasus:limit:{b}", "a list")
    with opened(server.url) as (_, limiter):
        assert holds(limiter, "a")
        assert holds(limiter, "b")


NONSENSE = {
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a number": b":1\r\n",
    "nothing": b"$-1\r\n",
    "a list of other things": b"*2\r\n:7\r\n$3\r\nabc\r\n",
    "more than is granted": b"*2\r\n:1\r\n$4\r\n-1.5\r\n",
    "no number": b"*2\r\n:1\r\n$3\r\nnan\r\n",
    "a list that is too long": b"*3\r\n:1\r\n$1\r\n1\r\n:1\r\n",
    "an end that never comes": b"$2000000000\r\nabc",
    "a length that is none": b"$x\r\n",
    "deep lists": b"*1\r\n" * 2_000,
    "an error of its own": b"-WHAT is that\r\n",
    "a direction to nowhere": b"-MOVED 1 nowhere:0\r\n",
    "bytes": random.Random(0).randbytes(5_000),
    "the end": b"",
}


@pytest.mark.parametrize("answer", NONSENSE)
@pytest.mark.parametrize("cluster", [False, True], ids=["single", "cluster"])
def test_one_that_answers_nonsense_is_not_relied_on(redis: RedisServer, answer: str, cluster: bool) -> None:
    with proxy(redis.port) as between:
        between.answer = NONSENSE[answer]
        with opened(f"redis://127.0.0.1:{between.port}?cluster={str(cluster).lower()}") as (connection, limiter):
            assert reason(connection)
            assert holds(limiter, "a")


@pytest.mark.parametrize("answer", NONSENSE)
def test_one_that_begins_to_answer_nonsense_is_not_relied_on(server: RedisServer, answer: str) -> None:
    with through(server) as (between, url), opened(url) as (connection, limiter):
        limiter.take("a", RATE)
        between.answer = NONSENSE[answer]
        assert holds(limiter, "b")
        assert reason(connection)
        between.answer = None
        between.cut()
        wait_until(lambda: is_back(connection))


# --- Let in


def test_who_is_not_let_in_says_why_without_the_password(
    server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = server.url.replace(":a-password", ":another-password")
    with opened(wrong) as (connection, limiter):
        said = reason(connection) + capfd.readouterr().err
        assert "invalid username-password pair" in said
        assert "password+" not in said
        assert "password%" not in said
        assert holds(limiter, "a")
    with opened(f"redis://127.0.0.1:{server.port}") as (connection, limiter):
        assert "Authentication required" in reason(connection)


def test_a_certificate_that_nobody_vouches_for_is_not_accepted() -> None:
    with redis_server(password=PASSWORD, tls=True) as server, opened(server.url) as (connection, limiter):
        assert "CERTIFICATE_VERIFY_FAILED" in reason(connection)
        assert holds(limiter, "a")


def test_a_password_that_is_changed_lets_nobody_be_refused(server: RedisServer) -> None:
    with opened(server.url) as (connection, limiter):
        limiter.take("a", RATE)
        server.command("CONFIG", "SET", "requirepass", "new")
        server.password = "new"
        server.command("CLIENT", "KILL", "TYPE", "normal")
        assert holds(limiter, "b")
        wait_until(lambda: not is_back(connection))
        server.command("CONFIG", "SET", "requirepass", PASSWORD)
        server.password = PASSWORD
        wait_until(lambda: is_back(connection))


def test_the_rights_that_the_guide_names_are_enough(server: RedisServer) -> None:
    guide = (Path(__file__).parents[2] / "docs/how-to/use-servers.md").read_text()
    (rights,) = [line for line in guide.splitlines() if "ACL SETUSER pegasus" in line]
    words = [word.strip("'") for word in rights.partition("ACL ")[2].replace("PASSWORD", "secret").split()]
    assert server.command("ACL", *words) == "+OK"
    with opened(f"redis://pegasus:secret@127.0.0.1:{server.port}") as (connection, limiter):
        connection.check()
        assert holds(limiter, "a")
        cache = RedisCache(connection)
        cache.put("name", b"value", 60)
        assert cache.get("name") == b"value"
        connection.check()


# --- A cluster


@pytest.mark.slow
def test_a_cluster_that_changes_hands_is_followed() -> None:
    """Its client is told where a key has gone; a node that dies is missed until its replica takes over."""
    with redis_cluster(password=PASSWORD, replicas=1) as nodes:
        first, replica = nodes[0], nodes[3]
        with opened(nodes[1].url, wait_seconds=10) as (connection, limiter):
            subjects = [f"s{n}" for n in range(60)]  # On each of the three.
            for subject in subjects:
                limiter.take(subject, RATE)
            with opened(nodes[1].url, wait_seconds=2) as (_, impatient):
                for subject in subjects:
                    impatient.take(subject, GENEROUS)
                for node in nodes:
                    node.pause()
                took = timed(lambda: impatient.take("s1", GENEROUS))
                for node in nodes:
                    node.resume()
                assert took < 5  # The time of one answer that does not come, not of one from each.
            wait_until(lambda: is_back(connection))
            assert replica.command("CLUSTER", "FAILOVER") == "+OK"
            wait_until(lambda: "role:master" in replica.command("INFO", "replication"))
            wait_until(lambda: "role:slave" in first.command("INFO", "replication"))
            assert {limiter.take(subject, RATE).remaining for subject in subjects} == {4}
            connection.check()
        with opened(nodes[1].url) as (connection, limiter), hammered(limiter) as took:
            wait_until(lambda: len(took) > 100)
            wait_until(lambda: "master_link_status:up" in first.command("INFO", "replication"))
            for node in nodes:
                node.command("CONFIG", "SET", "cluster-node-timeout", "1500")
            replica.kill()
            for subject in subjects:
                limiter.take(subject, GENEROUS)
            wait_until(lambda: "role:master" in first.command("INFO", "replication"))
            wait_until(lambda: "cluster_state:ok" in nodes[1].command("CLUSTER", "INFO"))
            wait_until(lambda: is_back(connection))
            for subject in subjects:
                limiter.take(subject, GENEROUS)
            wait_until(lambda: is_back(connection))
        assert max(took) < AT_MOST_SECONDS


def test_a_cluster_whose_name_stands_for_other_nodes_is_found_again() -> None:
    with (
        redis_cluster(size=1) as (before,),
        redis_cluster(size=1) as (after,),
        through(before) as (between, url),
        opened(url) as (connection, limiter),
    ):
        assert holds(limiter, "a")
        between.target = after.port
        between.cut()
        before.kill()
        assert holds(limiter, "a")
        wait_until(lambda: is_back(connection))
        assert holds(limiter, "a")
        assert after.keys("pegasus:limit:*") == ["pegasus:limit:{a}"]


# --- A whole Pegasus


def test_a_whole_one_counts_and_caches_there(tmp_path: Path, server: RedisServer) -> None:
    settings = load_settings(data=tmp_path, embedder="hash", cache_url=server.url, rate_limit="60/hour")
    with embedded(settings) as whole, serving_in_background(whole) as address:
        client = Client(address, local_access(whole, tmp_path).key)
        with closing(client):
            for _ in range(2):
                client.call("POST", "/v1/search", json={"query": "kettle"})
    assert len(server.keys("pegasus:cache:*")) == len(server.keys("pegasus:limit:{key:*}")) == 1


def test_requests_are_answered_and_readiness_is_kept_while_it_is_away(
    application: Application, server: RedisServer
) -> None:
    with opened(server.url) as (connection, limiter):
        doorkeeper = Doorkeeper(application.relational, limiter, Rates(RATE, RATE))
        changed = replace(
            application, doorkeeper=doorkeeper, optional={"cache": connection.check}, stopping=threading.Event()
        )
        with application.relational.write() as tx:
            _, key = access.create_key(tx, access.create_workspace(tx, "test"), "test")
        with (
            serving_in_background(changed) as address,
            httpx.Client(base_url=address, headers={"X-API-Key": key}) as http,
        ):
            assert http.get("/v1/documents").headers["RateLimit-Remaining"] == "5"
            assert of_cache(http)["ready"]
            server.stop()
            wait_until(lambda: not of_cache(http)["ready"])
            state = of_cache(http)
            assert (state["required"], "Redis is away" in str(state["detail"])) == (False, True)
            assert http.get("/ready").status_code == 200
            assert [http.get("/v1/documents").status_code for _ in range(7)] == [200] * 6 + [429]
            server.start()
            wait_until(lambda: bool(of_cache(http)["ready"]))
            assert http.get("/v1/documents").status_code == 200


def of_cache(http: httpx.Client) -> dict[str, object]:
    answer = http.get("/ready").json()
    assert answer["ready"]
    (state,) = [state for state in answer["dependencies"] if state["name"] == "cache"]
    return state


@pytest.mark.slow
def test_a_process_starts_and_serves_with_a_password_that_is_wrong(tmp_path: Path, server: RedisServer) -> None:
    pegasus = ServerProcess(tmp_path / "data", PEGASUS_CACHE_URL=server.url.replace(":a-password", ":another"))
    try:
        client = pegasus.start()
        with closing(client):
            assert client.call("GET", "/v1/documents")["items"] == []
            ready = client.call("GET", "/ready")
    finally:
        pegasus.end()
    assert "invalid username-password pair" in str(ready)
    assert pegasus.log.count("redis.away") == 1
    for said in (str(ready), pegasus.log):
        assert "another" not in said
        assert "nobody" not in said
