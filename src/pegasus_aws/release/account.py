"""All that is asked of one AWS account for one environment."""

from __future__ import annotations

from dataclasses import dataclass

from pegasus_aws import names
from pegasus_aws.clients.balancer import Balancer
from pegasus_aws.clients.cloudformation import CloudFormation
from pegasus_aws.clients.identity import Identity, identity
from pegasus_aws.clients.logs import Logs
from pegasus_aws.clients.objects import Objects
from pegasus_aws.clients.registry import Registry
from pegasus_aws.clients.secrets import Secrets
from pegasus_aws.clients.tasks import Tasks
from pegasus_aws.environments import Environment


@dataclass(frozen=True, slots=True)
class Account:
    identity: Identity
    cloudformation: CloudFormation
    objects: Objects  # The lock and the history
    secrets: Secrets
    registry: Registry
    tasks: Tasks
    balancer: Balancer
    logs: Logs


def open_account(environment: Environment) -> Account:
    """Raises ``Unauthorized`` without credentials."""
    region = environment.region
    me = identity(region)
    bucket = names.releases(environment, me.account)
    return Account(
        identity=me,
        cloudformation=CloudFormation(region),
        objects=Objects(region, bucket, me.account),
        secrets=Secrets(region),
        registry=Registry(region),
        tasks=Tasks(region, names.cluster(environment)),
        balancer=Balancer(region),
        logs=Logs(region),
    )
