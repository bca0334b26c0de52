"""The services: what a release changes. The digests of the two images are its parameters and stand nowhere else.

A release is a new digest here and in ``migration``: nothing else moves, and all of it moves together.
"""

from __future__ import annotations

from troposphere import GetAtt, Ref
from troposphere.ecs import LoadBalancer, ServiceRegistry

from pegasus_aws import application, names
from pegasus_aws.constructs.backfills import backfills
from pegasus_aws.constructs.fleet import providers, service
from pegasus_aws.constructs.scaling import by_backlog, by_load
from pegasus_aws.constructs.schedules import schedules
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.constructs.tasks import digest_of, task_definition
from pegasus_aws.environments import Environment, Task
from pegasus_aws.names import Family

# Long enough to open the database's pools and to load the model before the balancer's answers count.
_GRACE_SECONDS = 90


def services(environment: Environment) -> Stack:
    stack = Stack(environment, "services", "tasks, schedules, backfills")
    backend, chroma = digest_of(stack, "BackendDigest"), digest_of(stack, "ChromaDigest")
    tasks: dict[Family, Task] = {
        "backend-api": environment.api,
        "celery-worker": environment.worker,
        "scheduler": environment.scheduler,
        "chromadb": environment.vectors,
        "data-pipeline": environment.pipeline,
    }
    for family, values in tasks.items():
        made = task_definition(stack, family, values, chroma if family == "chromadb" else backend)
        stack.give(made.title, Ref(made))
    _run(stack)
    schedules(stack, stack.take("data", "DataKey"))
    backfills(stack, backend)
    return stack


def _run(stack: Stack) -> None:
    """Those that scale have no number here: a release would set it back to the least in the middle of a busy day."""
    environment = stack.environment
    targets = LoadBalancer(
        ContainerName="backend-api", ContainerPort=application.PORT, TargetGroupArn=stack.take("platform", "Targets")
    )
    service(
        stack,
        "backend-api",
        LaunchType="FARGATE",
        LoadBalancers=[targets],
        HealthCheckGracePeriodSeconds=_GRACE_SECONDS,
        # Chroma is asked by every question.
        DependsOn=["ChromadbService"],
    )
    service(
        stack,
        "celery-worker",
        CapacityProviderStrategy=providers(environment.worker),
        DependsOn=["ChromadbService"],
    )
    service(stack, "scheduler", DesiredCount=1, LaunchType="FARGATE")
    service(
        stack,
        "chromadb",
        DesiredCount=1,
        LaunchType="FARGATE",
        ServiceRegistries=[ServiceRegistry(RegistryArn=stack.take("platform", "VectorsName"))],
    )
    by_load(stack, "backend-api", environment.api)
    by_backlog(stack, "celery-worker", environment.worker)
    for family in ("backend-api", "celery-worker", "scheduler", "chromadb"):
        title = names.title(family, "service")
        stack.give(f"{title}Name", GetAtt(title, "Name"))
