"""One place for the names of things: stacks, exports, services, secrets, alarms.

Names that are told beforehand let a stack speak of what another one makes without waiting for it: an alarm of a
service that is not there yet, a role that may write to a log group of its own only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pegasus_aws.environments import Environment

StackName = Literal["network", "data", "platform", "observability", "migration", "services"]

# In the order in which they are built; each takes only from those before it. Alarms and log groups come before the
# services, because a task that starts needs its log group, and a deployment watches only alarms that are there. The
# tasks that prepare the database are run before anything that needs its roles and its schema is there.
STACKS: tuple[StackName, ...] = ("network", "data", "platform", "observability", "migration", "services")

# The families of tasks: the four of the plan, the scheduler, and those that prepare the database, in their order.
Family = Literal["backend-api", "celery-worker", "scheduler", "chromadb", "data-pipeline", "roles", "migration"]
PREPARING: tuple[Family, ...] = ("roles", "migration")
FAMILIES: tuple[Family, ...] = (
    "backend-api", "celery-worker", "scheduler", "chromadb", "data-pipeline", *PREPARING,
)  # fmt: skip

Alarm = Literal[
    "api-errors", "api-latency", "api-unhealthy", "api-tasks", "worker-tasks", "scheduler-tasks", "vectors-tasks",
    "jobs-age", "jobs-dead", "database-storage", "database-connections", "database-cpu", "broker-memory",
    "cache-memory", "vectors-cpu",
]  # fmt: skip
# What a release watches: a deployment is taken back when one of these goes off.
RELEASE_ALARMS: Mapping[Family, tuple[Alarm, ...]] = {
    "backend-api": ("api-errors", "api-latency", "api-unhealthy", "database-connections"),
    "celery-worker": ("jobs-dead", "jobs-age", "database-connections"),
}

REPOSITORIES = ("backend", "celery-worker", "chromadb")
NAMESPACE = "pegasus.internal"


def stack(environment: Environment, name: StackName) -> str:
    return f"pegasus-{environment.name}-{name}"


def export(environment: Environment, name: StackName, output: str) -> str:
    return f"{stack(environment, name)}-{output}"


def cluster(environment: Environment) -> str:
    return f"pegasus-{environment.name}"


def family(environment: Environment, name: Family) -> str:
    return f"pegasus-{environment.name}-{name}"


def alarm(environment: Environment, name: Alarm) -> str:
    return f"pegasus-{environment.name}-{name}"


def metrics(environment: Environment) -> str:
    """The namespace of what is counted in logs."""
    return f"Pegasus/{environment.name}"


def log_group(environment: Environment, name: str) -> str:
    return f"/pegasus/{environment.name}/{name}"


def secret(environment: Environment, name: str) -> str:
    return f"pegasus/{environment.name}/{name}"


def repository(environment: Environment, name: str) -> str:
    return f"pegasus/{environment.name}/{name}"


def tags(environment: Environment) -> Mapping[str, str]:
    """Of a stack, which CloudFormation hands on to all that is in it."""
    return {"application": "pegasus", "environment": environment.name}


def releases(environment: Environment, account: str) -> str:
    """The bucket of the lock and the history. All buckets of the world share one space of names."""
    return f"pegasus-{environment.name}-releases-{account}-{environment.region}"


def title(*words: str) -> str:
    """A logical id: ``title("celery-worker", "role")`` is CeleryWorkerRole."""
    return "".join(part.capitalize() for word in words for part in word.split("-"))
