"""From an environment to templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Environment
from pegasus_aws.plan.policy.system import System
from pegasus_aws.stacks.data import data
from pegasus_aws.stacks.migration import migration
from pegasus_aws.stacks.network import network
from pegasus_aws.stacks.observability import observability
from pegasus_aws.stacks.platform import platform
from pegasus_aws.stacks.services import services

_MAKERS: Mapping[names.StackName, Callable[[Environment], Stack]] = {
    "network": network, "data": data, "platform": platform, "observability": observability, "migration": migration,
    "services": services,
}  # fmt: skip


def synthesise(environment: Environment) -> tuple[Stack, ...]:
    """All stacks in the order in which they are built."""
    return tuple(_MAKERS[name](environment) for name in names.STACKS)


def system_of(environment: Environment, stacks: Sequence[Stack]) -> System:
    """What the checks look at: the templates as CloudFormation gets them."""
    return System(environment, {stack.name: stack.template.to_dict() for stack in stacks})
