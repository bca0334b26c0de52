"""Wake-ups through Celery on a real Redis: they come, also after whatever has happened to the broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kombu import Connection
from redis_server import PASSWORD, RedisServer, redis_server
from several import until

from pegasus.adapters.celery_queue import CeleryJobQueue
from pegasus.errors import Misconfigured, Unavailable
from pegasus.ports import QueueLength
from pegasus.store_urls import RedisAddress


def broker_of(server: RedisServer) -> RedisAddress:
    return RedisAddress.parse(server.url + (f"?ssl_ca_certs={server.certificate}" if server.certificate else ""))


@contextmanager
def queue_on(broker: RedisAddress) -> Iterator[CeleryJobQueue]:
    queue = CeleryJobQueue(broker)
    yield queue
    queue.close()


class Woken:
    """Who is woken; ``times`` counts by lane."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        self._changed = threading.Condition()

    def __call__(self, lane: str) -> None:
        with self._changed:
            self.times[lane] = self.times.get(lane, 0) + 1
            self._changed.notify_all()

    def wait_for(self, lane: str, times: int = 1, seconds: float = 30) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.times.get(lane, 0) >= times, seconds)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(password=PASSWORD) as running:
        yield running


@pytest.fixture
def queue(server: RedisServer) -> Iterator[CeleryJobQueue]:
    server.command("FLUSHALL")
    with queue_on(broker_of(server)) as made:
        yield made


@pytest.mark.parametrize(
    "how", [{}, {"password": PASSWORD}, {"user": "peg@sus", "password": PASSWORD, "tls": True}],
    ids=["bare", "auth-token", "acl-user-with-tls"],
)  # fmt: skip
def test_a_message_wakes_who_consumes_its_lane_and_nobody_else(how: dict) -> None:
    with redis_server(**how) as running, queue_on(broker_of(running)) as queue, queue_on(broker_of(running)) as other:
        woken = Woken()
        with other.consume(["read", "index"], woken):
            queue.publish("fetch")
            for lane in ("read", "index", "read"):
                queue.publish(lane)
            assert woken.wait_for("read", 2)
            assert woken.wait_for("index")
        assert "fetch" not in woken.times
        assert queue.lengths(["fetch"])["fetch"].waiting == 1
        queue.publish("read")
        assert queue.lengths(["read"])["read"].waiting == 1, "nobody consumes any more"
        keys = running.command("KEYS", "*").splitlines()[2::2]
        assert keys
        assert all(key.startswith("pegasus:") for key in keys)


def test_a_user_that_may_do_as_little_as_the_documentation_says_suffices(server: RedisServer) -> None:
    rules = ("on", ">little", "~pegasus:*", "+@all", "-@admin", "-@dangerous", "+info")
    assert server.command("ACL", "SETUSER", "little", *rules) == "+OK"
    broker, woken = RedisAddress("127.0.0.1", server.port, user="little", password="little"), Woken()
    with queue_on(broker) as queue, queue_on(broker) as other, other.consume(["read"], woken):
        queue.publish("read")
        assert woken.wait_for("read")
        assert queue.lengths(["read"])["read"].waiting == 0


def test_a_password_that_is_wrong_is_told_without_it(server: RedisServer) -> None:
    wrong = RedisAddress("127.0.0.1", server.port, password="wrong-password-never-to-be-seen")
    for broker in (wrong, RedisAddress("127.0.0.1", server.port)):
        with queue_on(broker) as queue, pytest.raises(Misconfigured) as caught:
            queue.ping()
        assert "never-to-be-seen" not in f"{caught.value.detail}{broker!r}"
        assert "REDIS_URL" in (caught.value.hint or "")


def test_what_is_not_trusted_is_not_talked_to(server: RedisServer) -> None:
    with redis_server(password=PASSWORD, tls=True) as running:
        trusting_the_machine = RedisAddress.parse(running.url)
        with queue_on(trusting_the_machine) as queue, pytest.raises(Unavailable, match="certificate"):
            queue.ping()


def test_a_redis_in_cluster_mode_is_refused_with_the_reason() -> None:
    with redis_server(options={"cluster-enabled": "yes"}) as running, queue_on(broker_of(running)) as queue:
        for call in (queue.ping, lambda: queue.publish("read"), lambda: queue.lengths(["read"])):
            with pytest.raises(Misconfigured, match="cluster mode"):
                call()


def test_an_emptied_broker_takes_and_gives_messages_as_before(server: RedisServer, queue: CeleryJobQueue) -> None:
    woken = Woken()
    with queue_on(broker_of(server)) as other, other.consume(["read"], woken):
        queue.publish("read")
        assert woken.wait_for("read")
        server.command("FLUSHALL")
        queue.publish("read")
        assert woken.wait_for("read", 2)


def test_after_a_broker_was_away_the_same_queue_publishes_and_consumes() -> None:
    with redis_server() as running, queue_on(broker_of(running)) as queue, queue_on(broker_of(running)) as other:
        woken = Woken()
        with other.consume(["read"], woken):
            queue.publish("read")
            assert woken.wait_for("read")
            running.kill()
            for _ in range(3):  # A pool that was closed at the first error would stay so.
                with pytest.raises(Unavailable, match="cannot be reached"):
                    queue.publish("read")
            running.start()
            queue.publish("read")
            assert woken.wait_for("read", 2)


def test_a_broker_that_is_silent_holds_nobody_for_long() -> None:
    with redis_server() as running, queue_on(broker_of(running)) as queue:
        queue.ping()
        running.pause()
        try:
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                queue.publish("read")
            assert time.monotonic() - begun < 40
        finally:
            running.resume()
        queue.publish("read")


def test_who_starts_before_the_broker_hears_of_it_later() -> None:
    with redis_server() as running, queue_on(broker_of(running)) as queue, queue_on(broker_of(running)) as other:
        running.stop()
        woken = Woken()
        with other.consume(["read"], woken):
            time.sleep(0.3)
            running.start()
            queue.publish("read")
            assert woken.wait_for("read")


def test_who_stops_while_the_broker_is_away_does_not_wait_for_it() -> None:
    with redis_server() as running, queue_on(broker_of(running)) as queue:
        running.stop()
        begun = time.monotonic()
        with queue.consume(["read"], Woken()):
            pass
        assert time.monotonic() - begun < 12


def test_the_length_counts_all_priorities_what_is_handed_out_and_what_waits_for_its_time(
    server: RedisServer, queue: CeleryJobQueue
) -> None:
    assert queue.lengths(["read", "index"]) == {"read": QueueLength(0, 0, 0), "index": QueueLength(0, 0, 0)}
    for priority in (0, 3, 6, 9):
        queue._app.send_task("pegasus.wake", ["read"], queue="read", priority=priority)
    queue._app.send_task("pegasus.wake", ["index"], queue="index", countdown=3600)
    queue._app.send_task("pegasus.wake", ["index"], queue="index")
    assert queue.lengths(["read", "index"]) == {"read": QueueLength(4, 0, 0), "index": QueueLength(2, 0, 0)}
    connection: Connection = queue._app.connection_for_read()
    with connection, connection.channel() as channel:
        held = [channel.basic_get(lane) for lane in ("index", "index", "read")]
        assert all(held)
        assert queue.lengths(["read", "index"]) == {"read": QueueLength(3, 1, 0), "index": QueueLength(0, 2, 1)}
        for message in held:
            channel.basic_ack(message.delivery_tag)
        assert queue.lengths(["read", "index"]) == {"read": QueueLength(3, 0, 0), "index": QueueLength(0, 0, 0)}


def test_what_another_program_put_there_wakes_nobody_and_stops_nothing(
    server: RedisServer, queue: CeleryJobQueue
) -> None:
    woken = Woken()
    with queue_on(broker_of(server)) as other, other.consume(["read"], woken):
        server.command("LPUSH", "pegasus:read", "no message")
        queue._app.send_task("somebody.elses", ["read"], queue="read")
        queue._app.send_task("pegasus.wake", [], queue="read")
        queue.publish("read")
        assert woken.wait_for("read")
        until(lambda: queue.lengths(["read"])["read"] == QueueLength(0, 0, 0), "nothing is left")
    assert woken.times == {"read": 1}
