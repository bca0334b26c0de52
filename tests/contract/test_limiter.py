"""What a rate limiter promises, of each that there is: exact at its edges, quick to forget, bounded in memory."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from redis_server import RedisServer, connected, wait_until

from pegasus.adapters.memory_limiter import InMemoryRateLimiter
from pegasus.adapters.redis_limiter import RedisRateLimiter
from pegasus.domain import Rate
from pegasus.errors import Invalid
from pegasus.ports import RateLimiter

# So slow that what passes while a test runs gives nothing back.
RATE = Rate(6, "hour")
_A_TEST_SECONDS = 60


@dataclass
class Clock:
    """What a limiter that counts in this process goes by, and what is done to one that goes by its server's."""

    now: float = 1_000.0
    servers: list[RedisServer] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        for server in self.servers:
            for key in server.keys("pegasus:limit:*"):
                server.command("EVAL", _PASS, "1", key, str(seconds))


# As if it had been counted so many seconds earlier.
_PASS = """
local at, owed = string.match(redis.call('GET', KEYS[1]), '^(%d+) (%S+)$')
local left = redis.call('PTTL', KEYS[1]) - ARGV[1] * 1000
if left <= 0 then return redis.call('DEL', KEYS[1]) end
return redis.call('SET', KEYS[1], string.format('%.0f %s', at - ARGV[1] * 1e6, owed), 'PX', math.ceil(left))
"""


class Nobody:
    """Who would count where Redis does not answer; here it always does."""

    def take(self, subject: str, rate: Rate) -> None:
        raise AssertionError("Redis did not answer")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis", "cluster"])
def limiter(request: pytest.FixtureRequest, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[RateLimiter]:
    if request.param == "memory":
        yield InMemoryRateLimiter(clock)
        return
    found = request.getfixturevalue("redis" if request.param == "redis" else "redis_nodes")
    clock.servers = found if isinstance(found, list) else [found]
    monkeypatch.setenv("SSL_CERT_FILE", str(clock.servers[0].certificate))
    for server in clock.servers:
        server.command("FLUSHALL")
    with closing(connected(clock.servers[-1].url, wait_seconds=60)) as connection:
        yield RedisRateLimiter(connection, otherwise=Nobody())


def test_the_whole_amount_may_come_at_once_and_no_more(limiter: RateLimiter) -> None:
    taken = [limiter.take("a", RATE) for _ in range(7)]
    assert [t.granted for t in taken] == [True] * 6 + [False]
    assert [t.remaining for t in taken] == [5, 4, 3, 2, 1, 0, 0]
    assert taken[0].reset_seconds == pytest.approx(600, abs=_A_TEST_SECONDS)
    assert taken[-1].reset_seconds == pytest.approx(3_600, abs=_A_TEST_SECONDS)
    assert taken[-1].retry_seconds == pytest.approx(600, abs=_A_TEST_SECONDS)
    assert [t.retry_seconds for t in taken[:6]] == [0.0] * 6


def test_it_comes_back_one_by_one(limiter: RateLimiter, clock: Clock) -> None:
    for _ in range(6):
        limiter.take("a", RATE)
    clock.pass_(600 - _A_TEST_SECONDS)
    assert not limiter.take("a", RATE).granted
    clock.pass_(_A_TEST_SECONDS)
    assert limiter.take("a", RATE).granted
    assert not limiter.take("a", RATE).granted
    clock.pass_(3_600)
    assert limiter.take("a", RATE).remaining == 5


def test_what_is_refused_costs_nothing(limiter: RateLimiter, clock: Clock) -> None:
    for _ in range(100):
        limiter.take("a", RATE)
    clock.pass_(600)
    assert limiter.take("a", RATE).granted


def test_subjects_do_not_share(limiter: RateLimiter) -> None:
    for _ in range(7):
        limiter.take("a", RATE)
    assert limiter.take("b", RATE).remaining == 5


def test_a_rate_that_is_lowered_holds_at_once(limiter: RateLimiter) -> None:
    for _ in range(6):
        limiter.take("a", RATE)
    lower = limiter.take("a", Rate(1, "second"))
    assert (lower.granted, lower.remaining) == (False, 0)


def test_large_amounts_are_counted_exactly(limiter: RateLimiter) -> None:
    rate = Rate(700, "day")  # One in two minutes, and no whole number of seconds.
    assert sum(limiter.take("a", rate).granted for _ in range(720)) == 700


def test_threads_share_the_amount(limiter: RateLimiter) -> None:
    granted: list[bool] = []

    def take() -> None:
        granted.extend(limiter.take("a", Rate(50, "hour")).granted for _ in range(25))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 50


@pytest.mark.parametrize("limiter", ["redis", "cluster"], indirect=True)
def test_a_clock_that_was_set_back_makes_nobody_wait(limiter: RateLimiter, clock: Clock) -> None:
    for _ in range(5):
        limiter.take("a", RATE)
    clock.pass_(-86_400)
    assert limiter.take("a", RATE).granted
    assert not limiter.take("a", RATE).granted
    clock.pass_(600)
    assert limiter.take("a", RATE).granted


def test_a_subject_may_have_any_name(limiter: RateLimiter) -> None:
    for subject in ("", "}", "{}", "a}{b", "with space\r\nand line", "näme\udcff", "x" * 5_000):
        assert limiter.take(subject, RATE).remaining == 5
        assert limiter.take(subject, RATE).remaining == 4


def test_many_subjects_are_forgotten_but_not_those_at_their_limit() -> None:
    limiter = InMemoryRateLimiter(Clock())
    for _ in range(6):
        limiter.take("greedy", RATE)
    for number in range(25_000):
        limiter.take(f"passer-by {number}", RATE)
    assert len(limiter._full_at) <= 10_000
    assert not limiter.take("greedy", RATE).granted


def test_redis_keeps_a_subject_only_as_long_as_it_owes(redis: RedisServer) -> None:
    redis.command("FLUSHALL")
    with closing(connected(redis.url, wait_seconds=60)) as connection:
        limiter = RedisRateLimiter(connection, otherwise=Nobody())
        for _ in range(3):
            limiter.take("a", RATE)
        (key,) = redis.keys("pegasus:limit:*")
        assert 1_800 - _A_TEST_SECONDS < int(redis.command("PTTL", key)[1:]) / 1_000 <= 1_800


def test_processes_share_the_amount_in_redis(redis: RedisServer) -> None:
    redis.command("FLUSHALL")
    with (
        closing(connected(redis.url, wait_seconds=60)) as one,
        closing(connected(redis.url, wait_seconds=60)) as other,
    ):
        limiters = [RedisRateLimiter(connection, otherwise=Nobody()) for connection in (one, other)]
        assert [limiters[n % 2].take("a", RATE).granted for n in range(7)] == [True] * 6 + [False]


@pytest.mark.parametrize("name", ["redis", "redis_nodes"])
def test_the_end_of_it_leaves_no_connection(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = request.getfixturevalue(name)
    servers: list[RedisServer] = found if isinstance(found, list) else [found]
    monkeypatch.setenv("SSL_CERT_FILE", str(servers[0].certificate))

    def connections() -> int:
        return sum(server.command("CLIENT", "LIST", "TYPE", "normal").count(" cmd=eval") for server in servers)

    with closing(connected(servers[0].url, wait_seconds=60)) as connection:
        limiter = RedisRateLimiter(connection, otherwise=Nobody())
        for number in range(20):
            limiter.take(f"s{number}", RATE)
        assert connections()
    gc.disable()
    try:
        wait_until(lambda: not connections())
    finally:
        gc.enable()


def test_a_server_that_has_lost_the_script_is_sent_it_again(redis: RedisServer) -> None:
    with closing(connected(redis.url, wait_seconds=60)) as connection:
        limiter = RedisRateLimiter(connection, otherwise=Nobody())
        limiter.take("a", RATE)
        redis.command("SCRIPT", "FLUSH")
        redis.command("FLUSHALL")
        assert limiter.take("a", RATE).remaining == 5


@pytest.mark.parametrize(
    ("text", "seconds"), [("1/second", 1), ("600/minute", 60), ("5/hour", 3600), ("9/day", 86_400)]
)
def test_a_rate_is_read_as_it_is_written(text: str, seconds: int) -> None:
    rate = Rate.parse(text)
    assert (str(rate), rate.seconds) == (text, seconds)


@pytest.mark.parametrize(
    "text", ["", "600", "0/minute", "-1/minute", "1/week", "1 / minute", "1/minutes", "9" * 20 + "/day", "1٣/day"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Invalid) as raised:
        Rate.parse(text)
    assert "600/minute" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("lower", "higher", "within"),
    [
        ("60/minute", "60/minute", True),
        ("30/minute", "60/minute", True),
        ("60/hour", "60/minute", True),
        ("1/second", "60/minute", True),
        ("61/minute", "60/minute", False),
        ("2/second", "60/minute", False),  # More in the long run
        ("600/hour", "60/minute", False),  # More at once
    ],
)
def test_a_rate_within_another(lower: str, higher: str, within: bool) -> None:
    assert Rate.parse(lower).within(Rate.parse(higher)) is within
