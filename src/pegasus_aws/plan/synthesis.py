"""From an environment to templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Environment
from pegasus_aws.stacks.network import network

_MAKERS: Mapping[names.StackName, Callable[[Environment], Stack]] = {"network": network}


def synthesise(environment: Environment) -> tuple[Stack, ...]:
    """All stacks in the order in which they are built."""
    return tuple(_MAKERS[name](environment) for name in names.STACKS if name in _MAKERS)
