"""How long the fuzzers run: a fixed number of inputs within ``make test``, FUZZ_MINUTES of them in ``make fuzz``."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator

# The inputs of ``make test`` are always the same.
_SEED = 20261123

MINUTES = float(os.environ.get("FUZZ_MINUTES", 0))
# The same FUZZ_SEED makes the same inputs again. Without one each long run has its own, which its findings name.
SEED = int(os.environ.get("FUZZ_SEED", 0)) or (1 + secrets.randbelow(2**31) if MINUTES else _SEED)


def numbers(short_run: int) -> Iterator[int]:
    """The numbers of the inputs, until the budget is spent; each input is made from SEED and its number alone."""
    begun, number = time.monotonic(), 0
    while time.monotonic() - begun < MINUTES * 60 if MINUTES else number < short_run:
        yield number
        number += 1
