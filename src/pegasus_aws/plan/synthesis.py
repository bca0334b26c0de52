"""From an environment to templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Environment
from pegasus_aws.stacks.data import data
from pegasus_aws.stacks.network import network
from pegasus_aws.stacks.observability import observability
from pegasus_aws.stacks.platform import platform
from pegasus_aws.stacks.services import services

_MAKERS: Mapping[names.StackName, Callable[[Environment], Stack]] = {
    "network": network, "data": data, "platform": platform, "observability": observability, "services": services,
}  # fmt: skip


def synthesise(environment: Environment) -> tuple[Stack, ...]:
    """All stacks in the order in which they are built."""
    return tuple(_MAKERS[name](environment) for name in names.STACKS)
