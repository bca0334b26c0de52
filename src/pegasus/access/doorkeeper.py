"""Lets requests in: by their key, and only so many of them."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from math import ceil

import structlog

from pegasus.access import repository, service
from pegasus.access.repository import ApiKey
from pegasus.access.scopes import Principal
from pegasus.domain import Allowance, Rate
from pegasus.errors import TooManyRequests, Unauthorized
from pegasus.identifiers import sha256_hex
from pegasus.ports import RateLimiter, RelationalStore

log = structlog.get_logger(__name__)

# How exact "last used" is; more would make every read a write.
_LAST_USED_SECONDS = 60.0
_FAILURES = Rate(60, "minute")
# An IPv6 customer has a whole network of this size to send from.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Rates:
    """What a key may send that has no limit of its own: requests in all, and among them questions; and how many
    wrong keys one address may."""

    requests: Rate
    asks: Rate
    failures: Rate = _FAILURES


@dataclass(frozen=True, slots=True)
class Admission:
    principal: Principal
    allowance: Allowance  # Not granted: the key is right, but it has asked too often.


class Doorkeeper:
    """Turns the key of a request into who is asking."""

    def __init__(self, relational: RelationalStore, limiter: RateLimiter, rates: Rates) -> None:
        self._relational, self._limiter, self._rates = relational, limiter, rates
        self._touched: dict[str, float] = {}

    def admit(self, secret: str | None, address: str) -> Admission:
        """Raises ``Unauthorized``; the reason does not tell an unknown key from a revoked or an expired one.

        A key is looked for however often its sender has failed before: a valid one is never locked out.
        """
        key = self._find(secret)
        if key is None:
            self._count_failure(address)
            raise Unauthorized("The API key is not valid.", hint="Create one with: pegasus keys create NAME")
        principal = Principal(
            key.id, key.workspace_id, key.scope, key.expires_at, key.rate_limit, key.max_body_bytes
        )  # fmt: skip
        allowance = self._limiter.take(f"key:{key.id}", key.rate_limit or self._rates.requests)
        if allowance.granted:
            self._note_use(key)
        return Admission(principal, allowance)

    def count_ask(self, principal: Principal) -> Allowance:
        """Questions cost more than other requests and have a limit of their own besides."""
        return self._limiter.take(f"asks:{principal.key_id}", self._rates.asks)

    def _find(self, secret: str | None) -> ApiKey | None:
        if not secret:
            raise Unauthorized(
                "No API key was sent.", hint="Send it in X-API-Key; pegasus keys show-local prints the local one."
            )
        with self._relational.read() as tx:
            key = repository.find_key(tx, sha256_hex(secret.encode("utf-8", "surrogateescape")))
            if key is None:
                service.check_installed(tx)
        return key if key and key.is_usable(time.time()) else None

    def _count_failure(self, address: str) -> None:
        allowance = self._limiter.take(f"failures:{_network(address)}", self._rates.failures)
        if not allowance.granted:
            raise refusal(allowance, "Too many requests with keys that are not valid came from your address.")
        if allowance.remaining == 0:
            log.warning("access.many_wrong_keys", address=address)

    def _note_use(self, key: ApiKey) -> None:
        now = time.time()
        if now - self._touched.get(key.id, 0.0) < _LAST_USED_SECONDS:
            return
        self._touched[key.id] = now
        with self._relational.write(key.workspace_id, alone=False) as tx:
            repository.touch(tx, key.id, now)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # A socket that is no IP one, or what a proxy says of its client.
        return address[:64]
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))


def refusal(allowance: Allowance, detail: str | None = None) -> TooManyRequests:
    """The error for an allowance that was not granted."""
    wait = max(1, ceil(allowance.retry_seconds))
    rate = allowance.rate
    return TooManyRequests(
        detail or f"Your key may send {rate.amount:,} requests of this kind a {rate.unit}.",
        hint=f"Try again in {wait} s. Limits: PEGASUS_RATE_LIMIT, PEGASUS_ASK_RATE_LIMIT, or the key's own.",
        retry_after_seconds=wait,
    )
