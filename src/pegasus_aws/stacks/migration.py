"""The task that brings the schema forward: in a stack of its own, for it is run before the services are changed."""

from __future__ import annotations

from troposphere import Ref

from pegasus_aws.constructs.stack import Stack
from pegasus_aws.constructs.tasks import digest_of, task_definition
from pegasus_aws.environments import Environment, Task


def migration(environment: Environment) -> Stack:
    stack = Stack(environment, "migration", "the task that brings the schema forward")
    stack.give("MigrationTask", Ref(task_definition(stack, "migration", Task(), digest_of(stack, "BackendDigest"))))
    return stack
