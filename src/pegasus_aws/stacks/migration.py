"""The tasks that make the database's roles and bring its schema forward.

They are in a stack of their own, for they are run before the services are changed.
"""

from __future__ import annotations

from troposphere import Ref

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.constructs.tasks import digest_of, task_definition
from pegasus_aws.environments import Environment, Task


def migration(environment: Environment) -> Stack:
    stack = Stack(environment, "migration", "the tasks that prepare the database")
    digest = digest_of(stack, "BackendDigest")
    for family in names.PREPARING:
        made = task_definition(stack, family, Task(), digest)
        stack.give(made.title, Ref(made))
    return stack
