"""Why tasks do not stay: what ECS says of the last that stopped, and what it said itself."""

from __future__ import annotations

from pegasus.errors import PegasusError
from pegasus_aws import names
from pegasus_aws.environments import Environment
from pegasus_aws.release.account import Account
from pegasus_aws.release.health import SERVICES

_LINES = 20
# Ends that were asked for, by a deployment that went on or by scaling: no reason of anything.
_ASKED_FOR = ("Scaling activity initiated", "Task stopped by user", "Service deleted")


def of_stopped_tasks(environment: Environment, account: Account, since: float) -> str:
    """Of each service whose tasks have ended by themselves since then; nothing where none did, or nobody tells."""
    return " ".join(filter(None, (_of(environment, account, family, since) for family in SERVICES)))


def _of(environment: Environment, account: Account, family: names.Family, since: float) -> str:
    try:
        stopped = account.tasks.stopped(names.family(environment, family), since)
        last = next((one for one in stopped if not one.reason.startswith(_ASKED_FOR)), None)
        if last is None:
            return ""
        stream = f"task/{family}/{last.arn.rpartition('/')[2]}"
        lines = account.logs.tail(names.log_group(environment, family), stream, _LINES)
    except PegasusError:
        return ""  # The failure itself is told; this would only have said more about it.
    said = " | ".join(line for line in lines[-3:] if line.strip())
    ended = "" if last.exit_code is None else f", exit code {last.exit_code}"
    return f"{family}: {last.reason}{ended}{f': {said}' if said else ''}."
