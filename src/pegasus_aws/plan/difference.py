"""What would change of what runs, where there are credentials to ask with."""

from __future__ import annotations

from collections.abc import Sequence

from pegasus.errors import Unavailable
from pegasus_aws import names
from pegasus_aws.clients.cloudformation import LONGEST_BODY_BYTES, Change, CloudFormation, Difference, has_credentials
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.plan.findings import Finding, NotRun

# What holds data. To replace it is to begin with nothing.
_DATA = (
    "AWS::RDS::DBInstance", "AWS::Neptune::DBCluster", "AWS::ElastiCache::ReplicationGroup", "AWS::EC2::Volume",
    "AWS::EFS::FileSystem", "AWS::S3::Bucket", "AWS::KMS::Key", "AWS::SecretsManager::Secret",
)  # fmt: skip


def differences(stacks: Sequence[Stack]) -> tuple[Difference, ...]:
    """Raises ``NotRun`` where nothing can be asked."""
    if not has_credentials():
        raise NotRun("There are no credentials: nothing that runs to compare with.")
    environment = stacks[0].environment
    client = CloudFormation(environment.region)
    found = []
    try:
        for stack in stacks:
            body = stack.body()
            if len(body.encode()) > LONGEST_BODY_BYTES:
                raise NotRun(f"The template of {stack.name} is longer than {LONGEST_BODY_BYTES} bytes.")
            found.append(client.difference(names.stack(environment, stack.name), body, names.tags(environment)))
    except Unavailable as error:
        raise NotRun(error.detail) from error
    return tuple(found)


def refused(found: Sequence[Difference]) -> list[Finding]:
    """Changes that no plan may make by itself."""
    return [*_failed(found), *_not_taken(found), *data_lost(found)]


def _failed(found: Sequence[Difference]) -> list[Finding]:
    hint = "It can only be deleted. Look at its events for why, then delete it and plan again."
    return [
        Finding("difference", "failed-creation", one.stack, "template", f"The stack is {one.status}.", hint)
        for one in found
        if one.status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
    ]


def _not_taken(found: Sequence[Difference]) -> list[Finding]:
    hint = "Mend what it names. What the template takes from another stack has to be there first."
    return [
        Finding("difference", "template-refused", one.stack, "template", f"CloudFormation: {one.refusal}", hint)
        for one in found
        if one.refusal
    ]


def data_lost(found: Sequence[Difference]) -> list[Finding]:
    """What would go, or begin with nothing."""
    hint = "Take the change back, or move the data first and give the new one another name."
    return [
        Finding("difference", "data-replaced", one.stack, change.resource, _says(change), hint)
        for one in found
        for change in one.changes
        if change.type in _DATA and (change.replacement == "True" or change.action == "Remove")
    ]


def _says(change: Change) -> str:
    what = "It would go from the stack" if change.action == "Remove" else "A new one would take its place"
    return f"{what}: {change.type}."
