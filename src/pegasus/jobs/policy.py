"""How often a failed job is tried again, and how long it waits before that: by the family of its error.

| family | what it means | attempts | waits |
|---|---|---|---|
| not retryable | the input or the request is wrong; it will be wrong again | 1 | |
| ``Unavailable`` | a store is away or the disk is full; that may take hours | those of a day | up to 5 minutes |
| ``TimedOut`` | a step showed no progress for too long | 3 | up to 1 minute |
| ``WorkerLost`` | the worker ended without an answer: the job may have ended it | 5 | none, but alone |
| ``Unexpected`` | a defect of Pegasus; the log has the traceback | 3 | up to 1 minute |

A job that only waits for a store spends no attempts, but the time that it has waited: what befalls it afterwards has
all of its own. A source that is away is looked at again by its schedule, and its run gets ten attempts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from pegasus.errors import PegasusError, TimedOut, Unavailable, Unexpected, WorkerLost


@dataclass(frozen=True, slots=True)
class Policy:
    max_attempts: int
    longest_wait_seconds: float


LONGEST_WAIT_SECONDS = 300.0
PATIENCE_SECONDS = 86_400.0
_SHORTEST_WAIT_SECONDS, _SHORTEST_ABSENCE_SECONDS = 0.5, 2.0
_POLICIES: Mapping[type[PegasusError], Policy] = {
    TimedOut: Policy(3, 60),
    Unexpected: Policy(3, 60),
    WorkerLost: Policy(5, 0),
    Unavailable: Policy(10, LONGEST_WAIT_SECONDS),
}


def policy_of(error: PegasusError) -> Policy:
    if not error.retryable:
        return Policy(1, 0)
    return next((policy for family, policy in _POLICIES.items() if isinstance(error, family)), _POLICIES[Unavailable])


def is_spent(error: PegasusError, attempts: int, max_attempts: int) -> bool:
    """Whether no attempt is left after so many; ``max_attempts`` is the installation's limit for all families."""
    return attempts >= min(policy_of(error).max_attempts, max_attempts)


def wait_seconds(error: PegasusError, attempts: int) -> float:
    """Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015), at least half a second."""
    longest = policy_of(error).longest_wait_seconds
    return _SHORTEST_WAIT_SECONDS + random.uniform(0, min(longest, 2.0 ** min(attempts, 10)))


def is_patient(error: PegasusError) -> bool:
    """Whether waiting is all that helps, and that it will help is likely."""
    return isinstance(error, Unavailable) and not isinstance(error, TimedOut)


def patient_wait_seconds(away_seconds: float) -> float:
    """As long again as the store has been away: the same curve, without a count of attempts."""
    longest = min(LONGEST_WAIT_SECONDS, max(_SHORTEST_ABSENCE_SECONDS, away_seconds))
    return _SHORTEST_WAIT_SECONDS + random.uniform(0, longest)
