"""Threads that go round, and which of them have not come back: an error that is caught says so in the log, one that
hangs or has ended says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from pegasus.errors import Unavailable


class Rounds:
    """For threads that start when the process does. ``beat`` is called from each one's own, ``check`` from any."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def beat_of(self, name: str, most_seconds: float) -> Callable[[], None]:
        """What the thread of that name calls at each round; the first one is due from now on."""

        def beat() -> None:
            self._due[name] = time.monotonic() + most_seconds

        beat()
        return beat

    def check(self) -> None:
        """Raises ``Unavailable`` naming those that are overdue."""
        now = time.monotonic()
        if overdue := [name for name, due in list(self._due.items()) if now > due]:
            raise Unavailable(f"These do not go round any more: {', '.join(overdue)}.", hint="Restart Pegasus.")
