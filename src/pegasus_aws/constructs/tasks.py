"""Task definitions: what a container is, what it is told, and what it is not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from troposphere import Join, Parameter, Ref, Sub
from troposphere.ecs import (
    AuthorizationConfig,
    ContainerDefinition,
    EFSVolumeConfiguration,
    EphemeralStorage,
    HealthCheck,
    KernelCapabilities,
    LinuxParameters,
    LogConfiguration,
    MountPoint,
    PortMapping,
    RuntimePlatform,
    Secret,
    TaskDefinition,
    Volume,
)
from troposphere.ecs import Environment as Variable

from pegasus_aws import application, capacity, names
from pegasus_aws.constructs.postgres import DATABASE
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.constructs.task_roles import repository_of, secrets_of
from pegasus_aws.environments import Neptune, Task
from pegasus_aws.names import Family
from pegasus_aws.reachability import POSTGRES_PORT

# Which setting takes which key of which secret. The form that ECS wants is ARN:key:: and nothing shorter.
_FROM_SECRETS: Mapping[str, Mapping[str, str]] = {
    # libpq takes these, so that no URL has a password in it.
    "PostgresSecret": {"PGUSER": "username", "PGPASSWORD": "password"},
    # RDS's own, which changes it every week.
    "DatabaseAdminSecret": {"PEGASUS_DATABASE_ADMIN_USER": "username", "PEGASUS_DATABASE_ADMIN_PASSWORD": "password"},
    "RedisSecret": {"REDIS_URL": "broker_url", "PEGASUS_CACHE_URL": "cache_url"},
    "OperatorSecret": {"PEGASUS_OPERATOR_KEY": "key"},
    "GraphSecret": {"PEGASUS_GRAPH_URL": "url"},
    "GoogleSecret": {"VERTEX_AI_SERVICE_ACCOUNT_KEY": "service_account_key"},
}
# Files that are read are unpacked on the task's own disk; Fargate gives 20 GiB, of which the image takes some.
_WORKING_DISK_GB = 30


def task_definition(stack: Stack, family: Family, values: Task, digest: Ref) -> TaskDefinition:
    vectors = family == "chromadb"
    made = TaskDefinition(
        names.title(family, "task"),
        Family=names.family(stack.environment, family),
        RequiresCompatibilities=["FARGATE"],
        NetworkMode="awsvpc",
        RuntimePlatform=RuntimePlatform(CpuArchitecture=stack.environment.architecture, OperatingSystemFamily="LINUX"),
        Cpu=str(values.cpu),
        Memory=str(values.memory_mb),
        ExecutionRoleArn=stack.take("platform", names.title(family, "execution", "role")),
        TaskRoleArn=stack.take("platform", names.title(family, "task", "role")),
        Volumes=_volumes(stack, family),
        ContainerDefinitions=[_container(stack, family, digest)],
        **({} if vectors else {"EphemeralStorage": EphemeralStorage(SizeInGiB=_WORKING_DISK_GB)}),
    )
    return stack.add(made)


def digest_of(stack: Stack, name: str) -> Ref:
    """The worker's repository has the same image as the backend's, and so the same digest: they cannot drift apart."""
    stack.template.add_parameter(
        Parameter(
            name,
            Type="String",
            Description="sha256:... of the image, as the registry has it",
            AllowedPattern="^sha256:[0-9a-f]{64}$",
            ConstraintDescription="a digest of the form sha256: and 64 hexadecimal digits",
        )
    )
    return Ref(name)


def image(stack: Stack, family: Family, digest: Ref) -> Sub:
    """By digest: what runs is what was checked, whatever becomes of a tag."""
    repository = names.repository(stack.environment, repository_of(family))
    registry = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}"
    return Sub(f"{registry}/{repository}@${{{digest.data['Ref']}}}")


def _container(stack: Stack, family: Family, digest: Ref) -> ContainerDefinition:
    data = application.VECTORS_DATA if family == "chromadb" else application.DATA
    health = application.HEALTH.get(family)
    port = {"backend-api": application.PORT, "chromadb": application.VECTORS_PORT}.get(family)
    return ContainerDefinition(
        Name=family,
        Image=image(stack, family, digest),
        Essential=True,
        User=application.USER,
        ReadonlyRootFilesystem=True,
        MountPoints=[
            MountPoint(SourceVolume="work", ContainerPath="/tmp", ReadOnly=False),  # noqa: S108 - its own, not shared.
            MountPoint(SourceVolume="data", ContainerPath=data, ReadOnly=False),
        ],
        LinuxParameters=LinuxParameters(Capabilities=KernelCapabilities(Drop=["ALL"]), InitProcessEnabled=True),
        StopTimeout=application.STOP_SECONDS[family],
        LogConfiguration=log_configuration(stack, family),
        Environment=[Variable(Name=name, Value=value) for name, value in variables(stack, family).items()],
        Secrets=[Secret(Name=name, ValueFrom=value) for name, value in secrets(stack, family).items()],
        **({"Command": list(application.COMMANDS[family])} if family in application.COMMANDS else {}),
        **({"PortMappings": [PortMapping(ContainerPort=port, Protocol="tcp")]} if port else {}),
        **(
            {"HealthCheck": HealthCheck(Command=list(health), Interval=10, Timeout=5, Retries=3, StartPeriod=60)}
            if health
            else {}
        ),
    )


def _volumes(stack: Stack, family: Family) -> list[Volume]:
    """The root cannot be written to. What can be goes with the task, except for Chroma's directory."""
    if family != "chromadb":
        return [Volume(Name="work"), Volume(Name="data")]
    directory = EFSVolumeConfiguration(
        FilesystemId=stack.take("data", "VectorsFiles"),
        TransitEncryption="ENABLED",
        AuthorizationConfig=AuthorizationConfig(AccessPointId=stack.take("data", "VectorsAccess"), IAM="ENABLED"),
    )
    return [Volume(Name="work"), Volume(Name="data", EFSVolumeConfiguration=directory)]


def log_configuration(stack: Stack, family: Family) -> LogConfiguration:
    options = {
        "awslogs-group": names.log_group(stack.environment, family),
        "awslogs-region": Ref("AWS::Region"),
        "awslogs-stream-prefix": "task",
        # A log that cannot be delivered holds nobody up: events are dropped then, not requests.
        "mode": "non-blocking",
        "max-buffer-size": "8m",
    }
    return LogConfiguration(LogDriver="awslogs", Options=options)


def variables(stack: Stack, family: Family) -> Mapping[str, Any]:
    """Settings that are no secret. A test holds their names against the application's."""
    if family == "chromadb":
        return {"ANONYMIZED_TELEMETRY": "False"}
    environment = stack.environment
    query = f"sslmode=verify-full&sslrootcert={application.DATABASE_AUTHORITIES}"
    address = stack.take("data", "DatabaseAddress")
    found: dict[str, Any] = {
        "DATABASE_URL": Sub(f"postgresql://${{Address}}:{POSTGRES_PORT}/{DATABASE}?{query}", Address=address),
        "PEGASUS_DATABASE_CONNECTIONS": str(environment.database.connections),
        "PEGASUS_EXPECTED_PROCESSES": str(capacity.processes(environment)),
        "PEGASUS_LOG_FORMAT": "json",
    }
    if family in names.PREPARING:
        return found
    found |= {
        "PEGASUS_VECTORS_URL": f"http://chromadb.{names.NAMESPACE}:{application.VECTORS_PORT}",
        "PEGASUS_FILES_URL": Sub(
            "s3://${Bucket}/pegasus?region=${AWS::Region}", Bucket=stack.take("data", "FilesBucket")
        ),
    }
    if isinstance(environment.graph, Neptune):
        found["PEGASUS_GRAPH_URL"] = stack.take("data", "GraphUrl")
    if family in application.HEALTH:
        # Worker and scheduler are asked how they are from within their containers only.
        found |= {"PEGASUS_HOST": "127.0.0.1", "PEGASUS_PORT": str(application.PORT)}
    if family == "backend-api":
        found |= {
            "PEGASUS_HOST": "0.0.0.0",  # noqa: S104 - its security group lets the balancer in, and nobody else.
            "PEGASUS_TRUSTED_HOSTS": environment.domain,
            "PEGASUS_TRUSTED_PROXIES": "*",  # Nobody but the balancer reaches it, by its security group.
        }
    return found | _google(stack)


def _google(stack: Stack) -> dict[str, Any]:
    google = stack.environment.google
    if google is None:
        return {}
    found = {
        "VERTEX_AI_PROJECT_ID": google.project_id,
        "VERTEX_AI_LOCATION": google.location,
        "VERTEX_AI_AGENT_ENGINE_ID": google.agent_engine_id,
    }
    if google.audience:
        found["VERTEX_AI_AUDIENCE"] = google.audience
    if google.service_account:
        found["VERTEX_AI_SERVICE_ACCOUNT"] = google.service_account
    return found


def secrets(stack: Stack, family: Family) -> Mapping[str, Any]:
    """Settings that are read from Secrets Manager when the task starts, and only then."""
    needed: Sequence[str] = secrets_of(stack.environment, family)
    return {
        setting: Join("", [stack.take("data", secret), f":{key}::"])
        for secret in needed
        for setting, key in _FROM_SECRETS[secret].items()
    }
