"""The schema is brought forward by a task of its own, once, before anything that needs it is there.

The same task proves that a version can run on the schema as it is: ``pegasus schema upgrade`` takes no step that older
code does not bear, and refuses where the schema has gone too far for its own. So an older version is gone back to by
the same way, and is refused there when it could not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pegasus.errors import NotFound, TimedOut
from pegasus_aws import names
from pegasus_aws.clients.cloudformation import Running
from pegasus_aws.clients.tasks import Task
from pegasus_aws.environments import Environment
from pegasus_aws.release.account import Account
from pegasus_aws.release.failure import NotDeployed

POLL_SECONDS = 3.0
_MINUTES = 60
_LINES = 20
_FAMILY: names.Family = "migration"


def bring_forward(
    environment: Environment,
    account: Account,
    migration: Running,
    *,
    say: Callable[[str], None],
    keep: Callable[[], None],
) -> None:
    """Raises ``NotDeployed`` with what the task said last, ``TimedOut`` while it is still at work."""
    definition = migration.outputs["MigrationTask"]
    # Of an operator who was killed; two at a time would only wait for each other.
    arn = account.tasks.at_work(definition, names.family(environment, _FAMILY))
    if arn is None:
        arn = _start(environment, account, definition)
    say(f"schema: {arn.rpartition('/')[2]} at work")
    task = _end(account, arn, keep)
    if task.exit_code != 0:
        raise NotDeployed(
            f"The schema was not brought forward: {_says(environment, account, task)}",
            hint="The services run as before. Mend it, and release again.",
        )
    say("schema: as this version wants it")


def _start(environment: Environment, account: Account, definition: str) -> str:
    network = account.cloudformation.describe(names.stack(environment, "network"))
    if network is None:
        raise NotFound("The stack network is not there.", hint="pegasus aws apply")
    address = "DISABLED" if environment.network.nat_gateways else "ENABLED"
    subnets, group = network.outputs["TaskSubnets"].split(","), network.outputs["MigrationSecurityGroup"]
    return account.tasks.start(definition, subnets, group, address, "pegasus-aws")


def _end(account: Account, arn: str, keep: Callable[[], None]) -> Task:
    deadline = time.monotonic() + _MINUTES * 60
    while True:
        task = account.tasks.task(arn)
        if task is None:
            raise NotDeployed("ECS does not know the migration any more.", hint="Release again.")
        if task.status == "STOPPED":
            return task
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The migration is still at work after {_MINUTES} minutes.",
                hint="It goes on by itself; run the same again to see it through.",
            )
        keep()
        time.sleep(POLL_SECONDS)


def _says(environment: Environment, account: Account, task: Task) -> str:
    stream = f"task/{_FAMILY}/{task.arn.rpartition('/')[2]}"
    lines = account.logs.tail(names.log_group(environment, _FAMILY), stream, _LINES)
    last = " | ".join(line for line in lines[-3:] if line.strip())
    ended = "no exit code" if task.exit_code is None else f"exit code {task.exit_code}"
    return "; ".join(filter(None, (ended, task.reason, last)))
