"""AWS Batch for backfills: more of the pipeline at once than a schedule would run, and gone when it is done."""

from __future__ import annotations

from typing import Any

from troposphere import Ref, Split
from troposphere.batch import (
    ComputeEnvironment,
    ComputeEnvironmentOrder,
    ComputeResources,
    ContainerProperties,
    EphemeralStorage,
    JobDefinition,
    JobQueue,
    LinuxParameters,
    LogConfiguration,
    MountPoints,
    ResourceRequirement,
    RetryStrategy,
    RuntimePlatform,
    Secret,
    Timeout,
    Volumes,
)
from troposphere.batch import Environment as Variable
from troposphere.batch import NetworkConfiguration as Network

from pegasus_aws import application, names
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.constructs.tasks import image, secrets, variables
from pegasus_aws.names import Family

_FAMILY: Family = "data-pipeline"
_LONGEST_SECONDS = 12 * 3600
_ATTEMPTS = 3  # A step that is done twice changes nothing.


def backfills(stack: Stack, digest: Ref) -> None:
    environment = stack.environment
    spot = environment.worker.spot
    stack.add(
        ComputeEnvironment(
            "BackfillCompute",
            Type="MANAGED",
            State="ENABLED",
            ReplaceComputeEnvironment=False,
            ComputeResources=ComputeResources(
                Type="FARGATE_SPOT" if spot else "FARGATE",
                MaxvCpus=environment.pipeline.backfill_vcpus,
                Subnets=Split(",", stack.take("network", "TaskSubnets")),
                SecurityGroupIds=[stack.take("network", group("pipeline"))],
            ),
        )
    )
    stack.add(
        JobQueue(
            "BackfillQueue",
            JobQueueName=f"{names.cluster(environment)}-backfills",
            Priority=1,
            State="ENABLED",
            ComputeEnvironmentOrder=[ComputeEnvironmentOrder(Order=1, ComputeEnvironment=Ref("BackfillCompute"))],
        )
    )
    stack.add(
        JobDefinition(
            "BackfillJob",
            JobDefinitionName=f"{names.cluster(environment)}-backfill",
            Type="container",
            PlatformCapabilities=["FARGATE"],
            PropagateTags=True,
            Parameters={"source": ""},
            RetryStrategy=RetryStrategy(Attempts=_ATTEMPTS),
            Timeout=Timeout(AttemptDurationSeconds=_LONGEST_SECONDS),
            ContainerProperties=ContainerProperties(**_container(stack, digest)),
        )
    )


def _container(stack: Stack, digest: Ref) -> dict[str, Any]:
    values = stack.environment.pipeline
    return {
        "Image": image(stack, _FAMILY, digest),
        "Command": [*application.COMMANDS[_FAMILY], "--source", "Ref::source"],
        "User": application.USER,
        "ReadonlyRootFilesystem": True,
        "LinuxParameters": LinuxParameters(InitProcessEnabled=True),
        "Volumes": [Volumes(Name="work"), Volumes(Name="data")],
        "MountPoints": [
            MountPoints(SourceVolume="work", ContainerPath="/tmp", ReadOnly=False),  # noqa: S108 - its own, not shared.
            MountPoints(SourceVolume="data", ContainerPath=application.DATA, ReadOnly=False),
        ],
        "EphemeralStorage": EphemeralStorage(SizeInGiB=30),
        "RuntimePlatform": RuntimePlatform(
            CpuArchitecture=stack.environment.architecture, OperatingSystemFamily="LINUX"
        ),
        "NetworkConfiguration": Network(
            AssignPublicIp="DISABLED" if stack.environment.network.nat_gateways else "ENABLED"
        ),
        "ResourceRequirements": [
            ResourceRequirement(Type="VCPU", Value=f"{values.cpu / 1024:g}"),
            ResourceRequirement(Type="MEMORY", Value=str(values.memory_mb)),
        ],
        "ExecutionRoleArn": stack.take("platform", names.title(_FAMILY, "execution", "role")),
        "JobRoleArn": stack.take("platform", names.title(_FAMILY, "task", "role")),
        "Environment": [Variable(Name=name, Value=value) for name, value in variables(stack, _FAMILY).items()],
        "Secrets": [Secret(Name=name, ValueFrom=value) for name, value in secrets(stack, _FAMILY).items()],
        "LogConfiguration": LogConfiguration(
            LogDriver="awslogs",
            Options={
                "awslogs-group": names.log_group(stack.environment, _FAMILY),
                "awslogs-region": Ref("AWS::Region"),
                "awslogs-stream-prefix": "backfill",
            },
        ),
    }
