"""Rate limits counted in Redis, for all processes together."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from pegasus.domain import Allowance, Rate
from pegasus.errors import Unavailable

if TYPE_CHECKING:
    from pegasus.adapters.redis_connection import Client, RedisConnection
    from pegasus.ports import RateLimiter

# What a subject owes, in seconds of its rate, and when that was so by the server's clock, which is the only one that
# all processes share. A clock that is set back makes nobody wait. The key goes away when nothing is owed any more.
_TAKE = """
local time = redis.call('TIME')
local now, cost, window = time[1] * 1e6 + time[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local at, owed = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%S+)$')
owed = math.max(0, (tonumber(owed) or 0) - math.max(0, now - (tonumber(at) or now)) / 1e6)
local granted = owed + cost - window <= 1e-6
if granted then owed = owed + cost end
redis.call('SET', KEYS[1], string.format('%.0f %.17g', now, owed), 'PX', math.ceil(owed * 1000))
return {granted and 1 or 0, string.format('%.17g', owed)}
"""
_TAKE_SHA1 = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


class RedisRateLimiter:
    """Where Redis does not answer, ``otherwise`` counts; then a subject has its rate in each process."""

    at_once = False

    def __init__(self, redis: RedisConnection, otherwise: RateLimiter) -> None:
        self._redis, self._otherwise = redis, otherwise

    def take(self, subject: str, rate: Rate) -> Allowance:
        key = f"pegasus:limit:{{{subject}}}".encode("utf-8", "surrogatepass")

        def ask(client: Client) -> Allowance:
            arguments = (1, key, rate.seconds / rate.amount, rate.seconds)
            try:
                answer = client.evalsha(_TAKE_SHA1, *arguments)
            except NoScriptError:
                answer = client.eval(_TAKE, *arguments)
            return _allowance(rate, answer)

        try:
            return self._redis.call(key, ask)
        except Unavailable:
            return self._otherwise.take(subject, rate)


def _allowance(rate: Rate, answer: Any) -> Allowance:
    """Raises for what is no answer of the script."""
    granted, owed = answer
    owed_seconds = float(owed)
    if granted not in (0, 1) or not math.isfinite(owed_seconds) or owed_seconds < 0:
        raise ValueError(f"{answer!r} is no answer")
    return Allowance.of(rate, owed_seconds, granted=bool(granted))
