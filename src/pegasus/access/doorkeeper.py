"""Lets requests in: by their key, and only so many of them."""

from __future__ import annotations

import ipaddress
import threading
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

# For so long a key that was looked up is known without asking again. What revokes keys waits as long where other
# processes have the same rows, so that a revocation that was answered holds everywhere.
_REMEMBERED_SECONDS = 1.0
_MOST_REMEMBERED = 10_000
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


@dataclass(frozen=True, slots=True)
class _Known:
    key: ApiKey
    principal: Principal
    until: float  # by the monotonic clock


class Doorkeeper:
    """Turns the key of a request into who is asking. ``shared``: other processes have the same rows."""

    def __init__(
        self, relational: RelationalStore, limiter: RateLimiter, rates: Rates, *, shared: bool = False
    ) -> None:
        self._relational, self._limiter, self._rates, self._shared = relational, limiter, rates, shared
        self._touched: dict[str, float] = {}
        self._known: dict[str, _Known] = {}
        self._forgotten = 0
        self._lock = threading.Lock()

    def admit_at_once(self, secret: str | None) -> Admission | None:
        """As ``admit``, for an event loop: None where that would have to wait for a store."""
        if not secret or not self._limiter.at_once:
            return None
        known = self._remembered(_digest(secret))
        if known is None or self._is_use_due(known.key):
            return None
        return self._admission(known)

    def admit(self, secret: str | None, address: str) -> Admission:
        """Raises ``Unauthorized``; the reason does not tell an unknown key from a revoked or an expired one.

        A key is looked for however often its sender has failed before: a valid one is never locked out.
        """
        known = self._find(secret)
        if known is None:
            self._count_failure(address)
            raise Unauthorized("The API key is not valid.", hint="Create one with: pegasus keys create NAME")
        admission = self._admission(known)
        if admission.allowance.granted and self._is_use_due(known.key):
            self._note_use(known.key)
        return admission

    def forget(self) -> None:
        """To be called when keys were revoked, after the commit; they open nothing any more when this returns."""
        with self._lock:
            self._forgotten += 1
            self._known.clear()
        if self._shared:
            time.sleep(_REMEMBERED_SECONDS)

    def _admission(self, known: _Known) -> Admission:
        rate = known.key.rate_limit or self._rates.requests
        return Admission(known.principal, self._limiter.take(f"key:{known.key.id}", rate))

    def count_ask(self, principal: Principal) -> Allowance:
        """Questions cost more than other requests and have a limit of their own besides."""
        return self._limiter.take(f"asks:{principal.key_id}", self._rates.asks)

    def _find(self, secret: str | None) -> _Known | None:
        if not secret:
            raise Unauthorized(
                "No API key was sent.", hint="Send it in X-API-Key; pegasus keys show-local prints the local one."
            )
        digest = _digest(secret)
        return self._remembered(digest) or self._look_up(digest)

    def _remembered(self, digest: str) -> _Known | None:
        known = self._known.get(digest)
        usable = known and known.until > time.monotonic() and known.key.is_usable(time.time())
        return known if usable else None

    def _look_up(self, digest: str) -> _Known | None:
        # Counted from before the row was read; and what is forgotten meanwhile stays so.
        until, forgotten = time.monotonic() + _REMEMBERED_SECONDS, self._forgotten
        with self._relational.read() as tx:
            key = repository.find_key(tx, digest)
            if key is None:
                service.check_installed(tx)
        if key is None or not key.is_usable(time.time()):
            return None
        principal = Principal(
            key.id, key.workspace_id, key.scope, key.expires_at, key.rate_limit, key.max_body_bytes
        )  # fmt: skip
        known = _Known(key, principal, until)
        with self._lock:
            if forgotten == self._forgotten:
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[digest] = known
        return known

    def _count_failure(self, address: str) -> None:
        allowance = self._limiter.take(f"failures:{_network(address)}", self._rates.failures)
        if not allowance.granted:
            raise refusal(allowance, "Too many requests with keys that are not valid came from your address.")
        if allowance.remaining == 0:
            log.warning("access.many_wrong_keys", address=address)

    def _is_use_due(self, key: ApiKey) -> bool:
        return time.time() - self._touched.get(key.id, 0.0) >= _LAST_USED_SECONDS

    def _note_use(self, key: ApiKey) -> None:
        now = self._touched[key.id] = time.time()
        with self._relational.write(key.workspace_id, alone=False) as tx:
            repository.touch(tx, key.id, now)


def _digest(secret: str) -> str:
    return sha256_hex(secret.encode("utf-8", "surrogateescape"))


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
