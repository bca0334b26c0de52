"""The cache in Redis, for all processes together."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pegasus.errors import Unavailable

if TYPE_CHECKING:
    from pegasus.adapters.redis_connection import RedisConnection


class RedisCache:
    def __init__(self, redis: RedisConnection) -> None:
        self._redis = redis

    def get(self, name: str) -> bytes | None:
        key = _key(name)
        try:
            return self._redis.call(key, lambda client: cast("bytes | None", client.get(key)))
        except Unavailable:
            return None

    def put(self, name: str, value: bytes, seconds: int) -> None:
        key = _key(name)
        try:
            self._redis.call(key, lambda client: client.set(key, value, ex=seconds))
        except Unavailable:
            return


def _key(name: str) -> bytes:
    return f"pegasus:cache:{{{name}}}".encode()
