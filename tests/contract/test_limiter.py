"""What a rate limiter promises, of each that there is: exact at its edges, quick to forget, bounded in memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from pegasus.adapters.memory_limiter import InMemoryRateLimiter
from pegasus.domain import Rate
from pegasus.errors import Invalid

RATE = Rate(6, "minute")


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> InMemoryRateLimiter:
    return InMemoryRateLimiter(clock)


def test_the_whole_amount_may_come_at_once_and_no_more(limiter: InMemoryRateLimiter) -> None:
    taken = [limiter.take("a", RATE) for _ in range(7)]
    assert [t.granted for t in taken] == [True] * 6 + [False]
    assert [t.remaining for t in taken] == [5, 4, 3, 2, 1, 0, 0]
    assert taken[0].reset_seconds == pytest.approx(10)
    assert taken[-1].reset_seconds == pytest.approx(60)
    assert taken[-1].retry_seconds == pytest.approx(10)


def test_it_comes_back_one_by_one(limiter: InMemoryRateLimiter, clock: Clock) -> None:
    for _ in range(6):
        limiter.take("a", RATE)
    clock.now += 9.9
    assert not limiter.take("a", RATE).granted
    clock.now += 0.1
    assert limiter.take("a", RATE).granted
    assert not limiter.take("a", RATE).granted
    clock.now += 3_600
    assert limiter.take("a", RATE).remaining == 5


def test_what_is_refused_costs_nothing(limiter: InMemoryRateLimiter, clock: Clock) -> None:
    for _ in range(100):
        limiter.take("a", RATE)
    clock.now += 10
    assert limiter.take("a", RATE).granted


def test_subjects_do_not_share(limiter: InMemoryRateLimiter) -> None:
    for _ in range(7):
        limiter.take("a", RATE)
    assert limiter.take("b", RATE).remaining == 5


def test_a_rate_that_is_lowered_holds_at_once(limiter: InMemoryRateLimiter) -> None:
    for _ in range(6):
        limiter.take("a", RATE)
    lower = limiter.take("a", Rate(1, "second"))
    assert (lower.granted, lower.remaining) == (False, 0)


def test_large_amounts_are_counted_exactly(limiter: InMemoryRateLimiter) -> None:
    rate = Rate(6_000, "minute")
    assert sum(limiter.take("a", rate).granted for _ in range(6_100)) == 6_000


def test_threads_share_the_amount(limiter: InMemoryRateLimiter) -> None:
    granted: list[bool] = []

    def take() -> None:
        granted.extend(limiter.take("a", Rate(50, "hour")).granted for _ in range(25))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 50


def test_many_subjects_are_forgotten_but_not_those_at_their_limit(limiter: InMemoryRateLimiter) -> None:
    for _ in range(6):
        limiter.take("greedy", RATE)
    for number in range(25_000):
        limiter.take(f"passer-by {number}", RATE)
    assert len(limiter._full_at) <= 10_000
    assert not limiter.take("greedy", RATE).granted


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
