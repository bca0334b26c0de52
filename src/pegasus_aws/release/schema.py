"""The database is prepared by tasks of their own, once, before anything that needs it is there.

The first makes the roles that all others log in as, which a new database does not have; where they are there it leaves
them. The second brings the schema forward, and proves that a version can run on the schema as it is: ``pegasus schema
upgrade`` takes no step that older code does not bear, and refuses where the schema has gone too far for its own. So an
older version is gone back to by the same way, and is refused there when it could not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pegasus.errors import NotFound, TimedOut
from pegasus_aws import names
from pegasus_aws.clients.cloudformation import Running
from pegasus_aws.clients.tasks import Task
from pegasus_aws.environments import Environment
from pegasus_aws.names import Family
from pegasus_aws.release.account import Account
from pegasus_aws.release.failure import NotDeployed

POLL_SECONDS = 3.0
_MINUTES = 60
_LINES = 20


@dataclass(frozen=True, slots=True)
class _Step:
    family: Family
    name: str
    done: str
    failed: str


_STEPS = (
    _Step("roles", "roles", "the database has them", "The roles of the database were not made"),
    _Step("migration", "schema", "as this version wants it", "The schema was not brought forward"),
)


def prepare(
    environment: Environment,
    account: Account,
    stack: Running,
    *,
    say: Callable[[str], None],
    keep: Callable[[], None],
) -> None:
    """Raises ``NotDeployed`` with what a task said last, ``TimedOut`` while it is still at work."""
    for step in _STEPS:
        definition = stack.outputs[names.title(step.family, "task")]
        # Of an operator who was killed; two at a time would only wait for each other.
        arn = account.tasks.at_work(definition, names.family(environment, step.family))
        if arn is None:
            arn = _start(environment, account, definition, step)
        say(f"{step.name}: {arn.rpartition('/')[2]} at work")
        task = _end(account, arn, step, keep)
        if task.exit_code != 0:
            raise NotDeployed(
                f"{step.failed}: {_says(environment, account, task, step)}",
                hint="The services run as before. Mend it, and release again.",
            )
        say(f"{step.name}: {step.done}")


def _start(environment: Environment, account: Account, definition: str, step: _Step) -> str:
    network = account.cloudformation.describe(names.stack(environment, "network"))
    if network is None:
        raise NotFound("The stack network is not there.", hint="pegasus aws apply")
    address = "DISABLED" if environment.network.nat_gateways else "ENABLED"
    group = network.outputs[names.title(step.family, "security", "group")]
    return account.tasks.start(definition, network.outputs["TaskSubnets"].split(","), group, address, "pegasus-aws")


def _end(account: Account, arn: str, step: _Step, keep: Callable[[], None]) -> Task:
    deadline = time.monotonic() + _MINUTES * 60
    while True:
        task = account.tasks.task(arn)
        if task is None:
            raise NotDeployed(f"ECS does not know the task for the {step.name} any more.", hint="Release again.")
        if task.status == "STOPPED":
            return task
        if time.monotonic() > deadline:
            raise TimedOut(
                f"The task for the {step.name} is still at work after {_MINUTES} minutes.",
                hint="It goes on by itself; run the same again to see it through.",
            )
        keep()
        time.sleep(POLL_SECONDS)


def _says(environment: Environment, account: Account, task: Task, step: _Step) -> str:
    stream = f"task/{step.family}/{task.arn.rpartition('/')[2]}"
    lines = account.logs.tail(names.log_group(environment, step.family), stream, _LINES)
    last = " | ".join(line for line in lines[-3:] if line.strip())
    ended = "no exit code" if task.exit_code is None else f"exit code {task.exit_code}"
    return "; ".join(filter(None, (ended, task.reason, last)))
