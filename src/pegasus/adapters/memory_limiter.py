"""Rate limits counted in this process, one number for each subject."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pegasus.domain import ROUNDING_SECONDS, Allowance, Rate

_MAX_SUBJECTS = 10_000


class InMemoryRateLimiter:
    """Token buckets, kept as the time at which each is full again (the generic cell rate algorithm, ITU-T I.371)."""

    at_once = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: dict[str, float] = {}

    def take(self, subject: str, rate: Rate) -> Allowance:
        cost = rate.seconds / rate.amount
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at.get(subject, now), now)
            granted = full_at + cost - now - rate.seconds <= ROUNDING_SECONDS
            if granted:
                full_at += cost
                self._keep(subject, full_at)
        return Allowance.of(rate, full_at - now, granted=granted)

    def _keep(self, subject: str, full_at: float) -> None:
        self._full_at[subject] = full_at
        if len(self._full_at) > _MAX_SUBJECTS:
            # The half that has used least is forgotten, which costs it nothing; so memory is bounded even where
            # every request comes from another address.
            most_used = sorted(self._full_at.items(), key=lambda item: -item[1])[: _MAX_SUBJECTS // 2]
            self._full_at = dict(most_used)
