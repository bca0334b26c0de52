"""What a size can do: connections of a database, and who wants them."""

from __future__ import annotations

from math import ceil, floor

from pegasus_aws import application
from pegasus_aws.environments import Environment

# GiB of memory by the end of an instance class; families of r have twice that of m.
_MEMORY_GB = {
    "micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32, "4xlarge": 64, "8xlarge": 128,
    "12xlarge": 192, "16xlarge": 256, "24xlarge": 384,
}  # fmt: skip
# What PostgreSQL, RDS, a person and the function that rotates the password keep for themselves.
_RESERVED = 10
_MOST = 5000

# How far above its number a service goes during a deployment at least, in per cent.
_DEPLOYING_PERCENT = {"backend-api": 150, "celery-worker": 125}


def database_memory_bytes(size: str) -> int | None:
    """None for a class that is not known here."""
    _, family, step = size.split(".")
    memory = _MEMORY_GB.get(step)
    return None if memory is None else memory * 2**30 * (2 if family[0] in "rx" else 1)


def connections_there(size: str) -> int | None:
    """RDS's own default: LEAST(memory / 9531392, 5000), of the memory that the system leaves, about three quarters.

    docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html
    """
    memory = database_memory_bytes(size)
    return None if memory is None else min(floor(memory * 0.75 / 9_531_392), _MOST)


def connections_of_a_process(environment: Environment) -> int:
    reading = environment.database.connections
    return reading + max(1, ceil(reading * application.CONNECTIONS_WRITING_SHARE))


def deploying_percent(family: str, least: int) -> int:
    """Of a service that never has fewer tasks than ``least``: room for one more, always.

    ECS rounds down. Where there is no room for a new task, and none of the old ones to spare, it waits for ever.
    docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
    """
    return max(_DEPLOYING_PERCENT[family], ceil(100 * (least + 1) / least))


def processes(environment: Environment) -> int:
    """At most, in the middle of a deployment."""
    api = floor(environment.api.most * deploying_percent("backend-api", environment.api.least) / 100)
    workers = floor(environment.worker.most * deploying_percent("celery-worker", environment.worker.least) / 100)
    backfills = max(1, environment.pipeline.backfill_vcpus * 1024 // environment.pipeline.cpu)
    scheduler, pipeline, migration = 1, 1, 1
    return api + workers + scheduler + pipeline + backfills + migration


def connections_wanted(environment: Environment) -> int:
    return processes(environment) * connections_of_a_process(environment) + _RESERVED
