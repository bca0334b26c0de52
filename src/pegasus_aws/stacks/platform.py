"""The platform: where tasks run, what they are, and how they are reached. Nothing in here has data."""

from __future__ import annotations

import json

from troposphere import GetAtt, Ref
from troposphere.ecr import EncryptionConfiguration, ImageScanningConfiguration, LifecyclePolicy, Repository
from troposphere.ecs import (
    CapacityProviderStrategy,
    Cluster,
    ClusterCapacityProviderAssociations,
    ClusterSetting,
)

from pegasus_aws import names
from pegasus_aws.constructs.balancer import balancer
from pegasus_aws.constructs.discovery import discovery
from pegasus_aws.constructs.firewall import firewall
from pegasus_aws.constructs.keeping import RETAIN
from pegasus_aws.constructs.stack import Stack, because
from pegasus_aws.constructs.task_roles import task_roles
from pegasus_aws.environments import Environment

# A rollback goes to one of the last releases, all of which are still there.
_KEPT_IMAGES = 30


def platform(environment: Environment) -> Stack:
    stack = Stack(environment, "platform", "cluster, images, balancer, names, roles")
    _repositories(stack)
    _cluster(stack)
    task_roles(stack)
    made = balancer(stack)
    firewall(stack, Ref(made), stack.take("data", "DataKey"))
    discovery(stack)
    return stack


def _repositories(stack: Stack) -> None:
    unnamed = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7}
    many = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": _KEPT_IMAGES}
    rules = [
        {"rulePriority": number, "selection": one, "action": {"type": "expire"}}
        for number, one in enumerate((unnamed, many), start=1)
    ]
    for name in names.REPOSITORIES:
        stack.add(
            Repository(
                names.title(name, "repository"),
                RepositoryName=names.repository(stack.environment, name),
                # What a tag names can never become something else.
                ImageTagMutability="IMMUTABLE",
                ImageScanningConfiguration=ImageScanningConfiguration(ScanOnPush=True),
                EncryptionConfiguration=EncryptionConfiguration(
                    EncryptionType="KMS", KmsKey=stack.take("data", "DataKey")
                ),
                LifecyclePolicy=LifecyclePolicy(LifecyclePolicyText=json.dumps({"rules": rules})),
                **RETAIN,
            )
        )


def _cluster(stack: Stack) -> None:
    cluster = stack.add(
        Cluster(
            "Cluster",
            ClusterName=names.cluster(stack.environment),
            ClusterSettings=[ClusterSetting(Name="containerInsights", Value="disabled")],
            Metadata=because(
                CKV_AWS_65="Container Insights is billed as custom metrics. CPU, memory and the number of tasks come "
                "with ECS, the queue with the scheduler's log: no alarm needs more."
            ),
        )
    )
    stack.add(
        ClusterCapacityProviderAssociations(
            "CapacityProviders",
            Cluster=Ref(cluster),
            CapacityProviders=["FARGATE", "FARGATE_SPOT"],
            DefaultCapacityProviderStrategy=[CapacityProviderStrategy(CapacityProvider="FARGATE", Weight=1)],
        )
    )
    stack.give("Cluster", Ref(cluster))
    stack.give("ClusterArn", GetAtt(cluster, "Arn"))
