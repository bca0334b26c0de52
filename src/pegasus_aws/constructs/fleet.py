"""Services: how many tasks of a family run, where, and how they are exchanged for new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from troposphere import Ref, Split
from troposphere.ecs import (
    AwsvpcConfiguration,
    CapacityProviderStrategyItem,
    DeploymentAlarms,
    DeploymentCircuitBreaker,
    DeploymentConfiguration,
    NetworkConfiguration,
    Service,
)

from pegasus_aws import capacity, names
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Environment, Workers
from pegasus_aws.names import Family

PARTY_OF: dict[Family, str] = {
    "backend-api": "api", "celery-worker": "worker", "scheduler": "scheduler", "chromadb": "vectors",
    "data-pipeline": "pipeline", "roles": "roles", "migration": "migration",
}  # fmt: skip


def service(stack: Stack, family: Family, **more: Any) -> Service:
    """A service that rolls back by itself when its tasks do not come up or an alarm of the release goes off."""
    deployment = DeploymentConfiguration(
        DeploymentCircuitBreaker=DeploymentCircuitBreaker(Enable=True, Rollback=True),
        **_percentages(stack.environment, family),
        **_watched(stack, family),
    )
    made = Service(
        names.title(family, "service"),
        ServiceName=names.family(stack.environment, family),
        Cluster=stack.take("platform", "Cluster"),
        TaskDefinition=Ref(names.title(family, "task")),
        DeploymentConfiguration=deployment,
        NetworkConfiguration=NetworkConfiguration(AwsvpcConfiguration=AwsvpcConfiguration(**network(stack, family))),
        EnableECSManagedTags=True,
        PropagateTags="SERVICE",
        **more,
    )
    return stack.add(made)


def network(stack: Stack, family: Family) -> dict[str, Any]:
    return {
        "Subnets": Split(",", stack.take("network", "TaskSubnets")),
        "SecurityGroups": [stack.take("network", group(PARTY_OF[family]))],
        # Without a NAT gateway this is the way out; no group lets anybody in.
        "AssignPublicIp": "DISABLED" if stack.environment.network.nat_gateways else "ENABLED",
    }


def _percentages(environment: Environment, family: Family) -> dict[str, int]:
    if family in ("chromadb", "scheduler"):
        # Never two at a time, not for a second: two Chromas on one directory destroy it.
        return {"MinimumHealthyPercent": 0, "MaximumPercent": 100}
    least = environment.api.least if family == "backend-api" else environment.worker.least
    return {"MinimumHealthyPercent": 100, "MaximumPercent": capacity.deploying_percent(family, least)}


def _watched(stack: Stack, family: Family) -> dict[str, Any]:
    watched = names.RELEASE_ALARMS.get(family, ())
    if not watched:
        return {}
    alarms = [names.alarm(stack.environment, name) for name in watched]
    return {"Alarms": DeploymentAlarms(AlarmNames=alarms, Enable=True, Rollback=True)}


def providers(values: Workers) -> Sequence[CapacityProviderStrategyItem]:
    """The first so many on demand, the rest where it is cheap: Spot gives two minutes, as long as a worker needs."""
    if not values.spot:
        return [CapacityProviderStrategyItem(CapacityProvider="FARGATE", Weight=1)]
    certain = [CapacityProviderStrategyItem(CapacityProvider="FARGATE", Base=values.on_demand, Weight=0)]
    spot = CapacityProviderStrategyItem(CapacityProvider="FARGATE_SPOT", Weight=1)
    return [*(certain if values.on_demand else []), spot]
