"""Two roles for each family of tasks: one that starts it, one that it is. Each may what its own table says, no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from troposphere import GetAtt, Join, Sub

from pegasus_aws import names
from pegasus_aws.constructs.iam import Statement, allow, arn, role
from pegasus_aws.constructs.stack import Stack, because
from pegasus_aws.environments import Environment, Neptune
from pegasus_aws.names import Family

_WHOLE_REGISTRY = (
    "Nothing narrower exists: ECR's token is for the whole registry, and opens only what the other statement names."
)
_STORES: tuple[Family, ...] = ("backend-api", "celery-worker", "scheduler", "data-pipeline")
_BUSY: tuple[Family, ...] = ("celery-worker",)


def repository_of(family: Family) -> str:
    """Which of the three images a family runs; all but Chroma's are the same one."""
    return {"celery-worker": "celery-worker", "chromadb": "chromadb"}.get(family, "backend")


def secrets_of(environment: Environment, family: Family) -> Sequence[str]:
    """The secrets that are read when a task of the family starts, by their names in the stack ``data``."""
    if family == "chromadb":
        return ()
    if family == "roles":
        return ("PostgresSecret", "DatabaseAdminSecret")
    if family == "migration":
        return ("PostgresSecret",)
    found = ["PostgresSecret", "RedisSecret", "OperatorSecret"]
    if not isinstance(environment.graph, Neptune):
        found.append("GraphSecret")
    if environment.google and not environment.google.audience:
        found.append("GoogleSecret")
    return found


def task_roles(stack: Stack) -> None:
    for family in names.FAMILIES:
        for made in (_execution(stack, family), _own(stack, family)):
            stack.add(made)
            stack.give(made.title, GetAtt(made, "Arn"))


def _execution(stack: Stack, family: Family) -> Any:
    environment = stack.environment
    group = names.log_group(environment, family)
    statements = [
        allow("ecr:GetAuthorizationToken", "*"),
        allow(
            "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer",
            GetAtt(names.title(repository_of(family), "repository"), "Arn"),
        ),
        allow(
            "logs:CreateLogStream logs:PutLogEvents",
            arn(f"logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:{group}:*"),
        ),
    ]
    secrets = secrets_of(environment, family)
    if secrets:
        statements += [
            allow("secretsmanager:GetSecretValue", [stack.take("data", secret) for secret in secrets]),
            allow("kms:Decrypt", stack.take("data", "DataKey"), _only_by("secretsmanager")),
        ]
    return role(
        names.title(family, "execution", "role"),
        "ecs-tasks.amazonaws.com",
        *statements,
        metadata=because(wildcard_resource=_WHOLE_REGISTRY),
    )


def _own(stack: Stack, family: Family) -> Any:
    statements: list[Statement] = []
    if family in _STORES:
        statements += _files(stack) + _graph(stack)
    if family in _BUSY:
        cluster = names.cluster(stack.environment)
        # A worker asks not to be chosen when tasks are taken away while it has something in hand.
        statements.append(
            allow(
                "ecs:GetTaskProtection ecs:UpdateTaskProtection",
                arn(f"ecs:${{AWS::Region}}:${{AWS::AccountId}}:task/{cluster}/*"),
            )
        )
    if family in ("celery-worker", "data-pipeline") and stack.environment.pipeline.buckets:
        statements += _sources(stack.environment.pipeline.buckets)
    if family == "chromadb":
        statements.append(
            allow(
                "elasticfilesystem:ClientMount elasticfilesystem:ClientWrite",
                stack.take("data", "VectorsFilesArn"),
                {"StringEquals": {"elasticfilesystem:AccessPointArn": stack.take("data", "VectorsAccessArn")}},
            )
        )
    return role(names.title(family, "task", "role"), "ecs-tasks.amazonaws.com", *statements)


def _only_by(service: str) -> dict[str, Any]:
    return {"StringEquals": {"kms:ViaService": Sub(f"{service}.${{AWS::Region}}.amazonaws.com")}}


def _files(stack: Stack) -> list[Statement]:
    bucket = Sub("arn:${AWS::Partition}:s3:::${Bucket}", Bucket=stack.take("data", "FilesBucket"))
    return [
        allow("s3:ListBucket", bucket),
        allow("s3:GetObject s3:PutObject s3:DeleteObject s3:AbortMultipartUpload", Join("", [bucket, "/*"])),
        allow("kms:Decrypt kms:GenerateDataKey", stack.take("data", "DataKey"), _only_by("s3")),
    ]


def _graph(stack: Stack) -> list[Statement]:
    if not isinstance(stack.environment.graph, Neptune):
        return []
    cluster = Sub(
        "arn:${AWS::Partition}:neptune-db:${AWS::Region}:${AWS::AccountId}:${Graph}/*",
        Graph=stack.take("data", "GraphResource"),
    )
    return [
        allow(
            "neptune-db:connect neptune-db:GetEngineStatus neptune-db:ReadDataViaQuery neptune-db:WriteDataViaQuery "
            "neptune-db:DeleteDataViaQuery",
            cluster,
        )
    ]


def _sources(buckets: Sequence[str]) -> list[Statement]:
    return [
        allow("s3:ListBucket", [Sub(f"arn:${{AWS::Partition}}:s3:::{bucket}") for bucket in buckets]),
        allow("s3:GetObject", [Sub(f"arn:${{AWS::Partition}}:s3:::{bucket}/*") for bucket in buckets]),
    ]
