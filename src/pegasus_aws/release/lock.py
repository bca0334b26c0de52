"""One operator at a time: a lock that says who has it and why, and that ends by itself when its owner does.

It is an object that is written only on condition that nobody else wrote it since it was read. Its age is told by the
store's own clock, so that no operator's has to be right.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from pegasus.errors import Conflict
from pegasus_aws.clients.objects import Objects

KEY = "lock.json"
HOLD_SECONDS = 300
_RENEW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Holder:
    owner: str
    host: str
    process: int
    reason: str
    since: str
    held: bool = True


Verdict = Literal["free", "expired", "dead", "held"]


def verdict(holder: Holder, age_seconds: float, here: str, alive: Callable[[int], bool]) -> Verdict:
    """What a lock that was found is worth. ``age_seconds`` is since it was last renewed."""
    if not holder.held:
        return "free"
    if age_seconds > HOLD_SECONDS:
        return "expired"
    # Whoever was killed on this machine need not be waited for.
    if holder.host == here and not alive(holder.process):
        return "dead"
    return "held"


def read(objects: Objects) -> Holder | None:
    """Who has it now, if anybody."""
    found = objects.read(KEY)
    if found is None:
        return None
    holder = Holder(**json.loads(found.body))
    return holder if verdict(holder, found.age_seconds, socket.gethostname(), _alive) == "held" else None


class Lock:
    def __init__(self, objects: Objects, owner: str) -> None:
        self._objects, self._owner = objects, owner
        self._tag, self._body, self._renewed = "", b"", 0.0

    @contextmanager
    def taken(self, reason: str) -> Iterator[None]:
        """Raises ``Conflict`` where somebody else has it."""
        host = socket.gethostname()
        holder = Holder(self._owner, host, os.getpid(), reason, datetime.now(UTC).isoformat(timespec="seconds"))
        self._body = _written(holder)
        self._tag = self._take(host)
        self._renewed = time.monotonic()
        try:
            yield
        finally:
            free = Holder(**{**asdict(holder), "held": False})
            self._objects.replace(KEY, _written(free), self._tag)

    def keep(self) -> None:
        """Say that its owner is still there; to be called while waiting. Raises ``Conflict`` when it was lost."""
        if time.monotonic() - self._renewed < _RENEW_SECONDS:
            return
        tag = self._objects.replace(KEY, self._body, self._tag)
        if tag is None:
            raise Conflict(
                "The lock was taken by somebody else, for it was not renewed in time.",
                hint="What runs goes on by itself. Look who is at work: pegasus aws status",
            )
        self._tag, self._renewed = tag, time.monotonic()

    def _take(self, host: str) -> str:
        found = self._objects.read(KEY)
        if found is None:
            tag = self._objects.create(KEY, self._body)
        else:
            holder = Holder(**json.loads(found.body))
            if verdict(holder, found.age_seconds, host, _alive) == "held":
                raise _taken(holder, HOLD_SECONDS - found.age_seconds)
            tag = self._objects.replace(KEY, self._body, found.tag)
        if tag is None:
            raise Conflict("Somebody else began at the same moment.", hint="Look who: pegasus aws status")
        return tag


def _taken(holder: Holder, seconds: float) -> Conflict:
    return Conflict(
        f"{holder.owner} on {holder.host} is at work since {holder.since}: {holder.reason}.",
        hint=f"Wait for it. If that process is gone, its lock ends by itself in {max(0, seconds):.0f} s.",
    )


def _written(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # It is there, and somebody else's.
        return True
    return True
