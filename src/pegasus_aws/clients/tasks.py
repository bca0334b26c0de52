"""ECS: how services are, and tasks that run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegasus.errors import Unavailable
from pegasus_aws.clients.connection import answers, connect


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    desired: int
    running: int
    pending: int
    rollouts: tuple[str, ...]  # The state of each deployment that counts; more than one while tasks are exchanged.
    digest: str  # Of the image that new tasks have.
    task_definition: str


@dataclass(frozen=True, slots=True)
class Task:
    arn: str
    status: str
    exit_code: int | None
    reason: str


class Tasks:
    def __init__(self, region: str, cluster: str) -> None:
        self._client = connect("ecs", region)
        self._cluster = cluster

    def services(self, names: Sequence[str]) -> Sequence[Service]:
        """Those of the names that are there."""
        with answers("the services"):
            found = self._client.describe_services(cluster=self._cluster, services=list(names))["services"]
            return [self._service(one) for one in found if one.get("status") == "ACTIVE"]

    def _service(self, one: Any) -> Service:
        definition = one["taskDefinition"]
        containers = self._client.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        return Service(
            name=one["serviceName"],
            desired=one["desiredCount"],
            running=one["runningCount"],
            pending=one["pendingCount"],
            rollouts=tuple(each.get("rolloutState", "") for each in one.get("deployments", []) if _counts(each)),
            digest=containers["containerDefinitions"][0]["image"].partition("@")[2],
            task_definition=definition,
        )

    def start(self, definition: str, subnets: Sequence[str], group: str, address: str, by: str) -> str:
        """The task's ARN. Raises ``Unavailable`` where there is no room for it."""
        where = {"subnets": list(subnets), "securityGroups": [group], "assignPublicIp": address}
        with answers(f"the task {definition}"):
            found = self._client.run_task(
                cluster=self._cluster,
                taskDefinition=definition,
                launchType="FARGATE",
                count=1,
                startedBy=by,
                propagateTags="TASK_DEFINITION",
                networkConfiguration={"awsvpcConfiguration": where},
            )
        for failure in found.get("failures", []):
            raise Unavailable(f"ECS does not start {definition}: {failure.get('reason', 'no reason')}")
        return str(found["tasks"][0]["taskArn"])

    def at_work(self, definition: str, family: str) -> str | None:
        """A task of this very definition that somebody started and that has not ended."""
        with answers(f"the tasks of {family}"):
            arns = self._client.list_tasks(cluster=self._cluster, family=family)["taskArns"]
            if not arns:
                return None
            found = self._client.describe_tasks(cluster=self._cluster, tasks=arns)["tasks"]
        same = [one["taskArn"] for one in found if one["taskDefinitionArn"] == definition]
        return next(iter(same), None)

    def task(self, arn: str) -> Task | None:
        with answers(f"the task {arn}"):
            found = self._client.describe_tasks(cluster=self._cluster, tasks=[arn])["tasks"]
        return _task(found[0]) if found else None

    def stopped(self, service: str, since: float) -> Sequence[Task]:
        """Tasks of a service that ended since then, the latest first; ECS knows those of the last hour."""
        with answers(f"the tasks of {service}"):
            arns = self._client.list_tasks(cluster=self._cluster, serviceName=service, desiredStatus="STOPPED")
            if not arns["taskArns"]:
                return []
            found = self._client.describe_tasks(cluster=self._cluster, tasks=arns["taskArns"])["tasks"]
        return [_task(one) for one in sorted(found, key=_ended, reverse=True) if _ended(one) >= since]


def _counts(deployment: Mapping[str, Any]) -> bool:
    """One that failed stays in the list for a while after the one before it was gone back to."""
    tasks = int(deployment.get("runningCount", 0)) + int(deployment.get("pendingCount", 0))
    return deployment["status"] == "PRIMARY" or tasks > 0


def _ended(one: Mapping[str, Any]) -> float:
    moment = one.get("stoppedAt") or one.get("createdAt")
    return moment.timestamp() if moment else 0.0


def _task(one: Any) -> Task:
    container: Mapping[str, Any] = next(iter(one.get("containers", [])), {})
    reason = ". ".join(filter(None, (one.get("stoppedReason", ""), container.get("reason", ""))))
    return Task(one["taskArn"], one["lastStatus"], container.get("exitCode"), reason)
