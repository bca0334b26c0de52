"""Log groups that end."""

from __future__ import annotations

from typing import Any

from troposphere.logs import LogGroup

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack


def log_group(stack: Stack, title: str, name: str, key: Any = None, **more: Any) -> LogGroup:
    """A group whose events are deleted in time; CloudWatch keeps them for ever unless it is told."""
    return stack.add(
        LogGroup(
            title,
            LogGroupName=names.log_group(stack.environment, name),
            RetentionInDays=stack.environment.log_retention_days,
            DeletionPolicy="Retain" if stack.environment.protected else "Delete",
            UpdateReplacePolicy="Retain" if stack.environment.protected else "Delete",
            **({"KmsKeyId": key} if key else {}),
            **more,
        )
    )
