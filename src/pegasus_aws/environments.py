"""Environments as typed values: all that differs between development, production and one of your own is in here.

No code asks for an environment's name. docs/reference/environment.toml shows every value with its meaning; a file of
that form is an environment of your own (``pegasus aws plan --file FILE``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pegasus.errors import Invalid, NotFound
from pegasus_aws.usage import Usage

Retention = Literal[1, 3, 5, 7, 14, 30, 60, 90, 180, 365, 400, 545, 731, 1827, 3653]

# What Fargate runs: memory in MiB by CPU units, as (least, most, step).
# docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
FARGATE_MEMORY: Mapping[int, tuple[int, int, int]] = {
    256: (1024, 2048, 1024),  # It runs 512 too, in which no process of Pegasus has room.
    512: (1024, 4096, 1024),
    1024: (2048, 8192, 1024),
    2048: (4096, 16384, 1024),
    4096: (8192, 30720, 1024),
    8192: (16384, 61440, 4096),
}
_EXAMPLE_DOMAINS = (".example", "example.com", "example.org", "example.net")  # RFC 2606: nobody's.


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class Budget(_Values):
    least_usd: float = Field(ge=0, description="An estimate below this has forgotten something.")
    most_usd: float = Field(gt=0, description="A plan that costs more a month may not be applied.")

    @model_validator(mode="after")
    def _in_order(self) -> Budget:
        if self.least_usd > self.most_usd:
            raise ValueError("least_usd is not above most_usd")
        return self


class Network(_Values):
    cidr: str = Field(default="10.20.0.0/16", description="Addresses of the network, a /16 that no peer of it uses.")
    zones: int = Field(default=2, ge=2, le=3, description="Availability zones.")
    nat_gateways: int = Field(
        default=1,
        ge=0,
        le=3,
        description="One for all zones, one a zone, or 0: then tasks have public addresses, which only they open.",
    )
    flow_logs: Literal["ALL", "REJECT"] = Field(default="REJECT", description="Which connections are logged.")

    @field_validator("cidr")
    @classmethod
    def _a_sixteen(cls, value: str) -> str:
        network = IPv4Network(value)
        if network.prefixlen != 16 or not network.is_private:
            raise ValueError("it is not a private network of the form 10.20.0.0/16")
        return value

    @model_validator(mode="after")
    def _one_or_each(self) -> Network:
        if self.nat_gateways not in (0, 1, self.zones):
            raise ValueError(f"nat_gateways is 0, 1 or one for each of the {self.zones} zones")
        return self


class Database(_Values):
    size: str = Field(pattern=r"^db\.[a-z0-9]+\.[a-z0-9]+$", description="RDS instance class.")
    version: str = Field(
        default="18",
        pattern=r"^\d{2}(\.\d+)?$",
        description="Of PostgreSQL: 18, where RDS picks the minor one, or 17.10.",
    )
    multi_az: bool = Field(description="A standby in another zone, which takes over by itself.")
    storage_gb: int = Field(default=20, ge=20, le=65536, description="Disk to begin with.")
    storage_limit_gb: int = Field(default=100, ge=22, le=65536, description="Up to which the disk grows by itself.")
    backup_days: int = Field(default=7, ge=7, le=35, description="As far back as any second can be restored.")
    connections: int = Field(
        default=4,
        ge=1,
        le=50,
        description="PEGASUS_DATABASE_CONNECTIONS: those of a process that read; half more write.",
    )

    @model_validator(mode="after")
    def _may_grow(self) -> Database:
        # RDS wants room for one step of growth at least, which is a tenth.
        if self.storage_limit_gb * 10 < self.storage_gb * 11:
            raise ValueError("storage_limit_gb is at least a tenth more than storage_gb")
        return self


class Broker(_Values):
    size: str = Field(pattern=r"^cache\.[a-z0-9]+\.[a-z0-9]+$", description="ElastiCache node type.")
    replicas: int = Field(ge=0, le=5, description="Standbys in other zones; with one or more it fails over by itself.")
    snapshot_days: int = Field(default=1, ge=1, le=35, description="How long daily snapshots are kept.")


class Cache(Broker):
    shards: int = Field(default=1, ge=1, le=90, description="Parts that the keys are spread over.")


class Neptune(_Values):
    engine: Literal["neptune"] = "neptune"
    version: str = Field(default="1.4.6.0", pattern=r"^\d+\.\d+\.\d+\.\d+$", description="Version of the engine.")
    replicas: int = Field(default=0, ge=0, le=15, description="Readers that take over when the writer fails.")
    least_ncu: float = Field(default=1, ge=1, le=128, description="Serverless capacity that is always there.")
    most_ncu: float = Field(default=4, ge=2.5, le=128, description="Serverless capacity at most.")
    backup_days: int = Field(default=7, ge=1, le=35, description="As far back as any second can be restored.")

    @model_validator(mode="after")
    def _in_order(self) -> Neptune:
        if self.least_ncu > self.most_ncu:
            raise ValueError("least_ncu is not above most_ncu")
        return self


class Neo4j(_Values):
    engine: Literal["neo4j"] = "neo4j"
    size: str = Field(default="t4g.small", pattern=r"^[a-z]+[0-9]g[a-z]*\.[a-z0-9]+$", description="A Graviton type.")
    storage_gb: int = Field(default=10, ge=10, le=16384, description="The EBS volume that holds the graph.")
    image: str = Field(
        default="public.ecr.aws/docker/library/neo4j:5.26-community",
        description="Neo4j's image; name it by digest to hold it still.",
    )


class Task(_Values):
    cpu: Literal[256, 512, 1024, 2048, 4096, 8192] = Field(default=512, description="1024 is one vCPU.")
    memory_mb: int = Field(default=1024, description="What Fargate allows for that CPU.")

    @model_validator(mode="after")
    def _that_fargate_runs(self) -> Task:
        least, most, step = FARGATE_MEMORY[self.cpu]
        if not least <= self.memory_mb <= most or self.memory_mb % step:
            raise ValueError(f"with cpu {self.cpu} memory_mb is {least} to {most} in steps of {step}")
        return self


class Fleet(Task):
    least: int = Field(ge=1, le=100, description="Tasks that are always there.")
    most: int = Field(ge=1, le=500, description="Tasks at most.")

    @model_validator(mode="after")
    def _in_order(self) -> Fleet:
        if self.least > self.most:
            raise ValueError("least is not above most")
        return self


class Workers(Fleet):
    spot: bool = Field(default=True, description="Take what is beyond on_demand from Spot, which may end it.")
    on_demand: int = Field(default=1, ge=0, description="So many tasks are never taken from Spot.")
    backlog_a_task: int = Field(
        default=50, ge=1, description="Jobs that may wait for each task; for more, more tasks are started."
    )


class Pipeline(Task):
    schedule: str = Field(
        default="rate(1 hour)", pattern=r"^(rate|cron)\(.+\)$", description="When sources are looked at."
    )
    backfill_vcpus: int = Field(default=4, ge=1, le=256, description="What AWS Batch may use at a time for backfills.")
    buckets: tuple[str, ...] = Field(default=(), description="Names of S3 buckets that sources read.")


class Google(_Values):
    """Vertex AI. Without a key in the secret pegasus/ENV/vertex-ai it is reached by Workload Identity Federation."""

    project_id: str = Field(description="VERTEX_AI_PROJECT_ID.")
    location: str = Field(default="us-central1", description="VERTEX_AI_LOCATION.")
    agent_engine_id: str = Field(description="VERTEX_AI_AGENT_ENGINE_ID.")
    audience: str | None = Field(
        default=None,
        description="The provider of the federation, as //iam.googleapis.com/projects/NUMBER/locations/global/"
        "workloadIdentityPools/POOL/providers/PROVIDER. Without it a service account's key is taken from the secret.",
    )
    service_account: str | None = Field(default=None, description="The account that the federation acts as.")


class Environment(_Values):
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,15}$", description="Begins the name of everything in it.")
    region: str = Field(default="us-east-1", pattern=r"^[a-z]{2}-[a-z]+-\d$", description="Where it is.")
    architecture: Literal["ARM64", "X86_64"] = Field(
        default="X86_64", description="Of the tasks. ARM64 costs a fifth less and wants images that are built for it."
    )
    protected: bool = Field(description="Nothing with data in it can be deleted before this is taken back.")
    domain: str = Field(default="pegasus.example.com", description="The name that it is reached by.")
    hosted_zone_id: str = Field(
        default="Z00000000000000000000",
        pattern=r"^Z[A-Z0-9]{8,31}$",
        description="The Route 53 zone of that name. It must be there before: ACM waits for it.",
    )
    alert_email: str = Field(
        default="operator@example.com", pattern=r"^[^@\s]+@[^@\s]+$", description="Who is told when an alarm goes off."
    )
    log_retention_days: Retention = Field(default=30, description="How long logs are kept.")
    budget: Budget
    network: Network = Network()
    database: Database
    broker: Broker
    cache: Cache
    graph: Annotated[Neptune | Neo4j, Field(discriminator="engine")]
    api: Fleet
    worker: Workers
    scheduler: Task = Task()
    vectors: Task
    pipeline: Pipeline = Pipeline()
    google: Google | None = None
    usage: Usage = Usage()

    @model_validator(mode="after")
    def _enough_zones_to_fail_over(self) -> Environment:
        for name, store in (("broker", self.broker), ("cache", self.cache)):
            if store.replicas and self.network.zones < 2:
                raise ValueError(f"{name}.replicas want a second zone")
        return self

    @property
    def missing(self) -> tuple[str, ...]:
        """What only its owner knows and has not told yet; it can be planned so, but not be built."""
        hosts = {"domain": self.domain, "alert_email": self.alert_email.partition("@")[2]}
        unknown = [name for name, host in hosts.items() if host.endswith(_EXAMPLE_DOMAINS)]
        return (*unknown, *(["hosted_zone_id"] if re.fullmatch("Z0+", self.hosted_zone_id) else []))


DEVELOPMENT = Environment(
    name="dev",
    protected=False,
    log_retention_days=14,
    budget=Budget(least_usd=100, most_usd=200),
    network=Network(zones=2, nat_gateways=1),
    database=Database(size="db.t4g.micro", multi_az=False, connections=2),
    broker=Broker(size="cache.t4g.micro", replicas=0),
    cache=Cache(size="cache.t4g.micro", replicas=0, shards=1),
    graph=Neo4j(),
    api=Fleet(cpu=512, memory_mb=1024, least=1, most=2),
    worker=Workers(cpu=512, memory_mb=4096, least=1, most=3, on_demand=0),
    scheduler=Task(cpu=256, memory_mb=1024),
    vectors=Task(cpu=256, memory_mb=2048),
    pipeline=Pipeline(memory_mb=4096, backfill_vcpus=1),
)
PRODUCTION = Environment(
    name="production",
    protected=True,
    log_retention_days=90,
    budget=Budget(least_usd=500, most_usd=1000),
    network=Network(zones=2, nat_gateways=2, flow_logs="ALL"),
    database=Database(size="db.t4g.medium", multi_az=True, storage_gb=100, storage_limit_gb=500),
    broker=Broker(size="cache.t4g.small", replicas=1, snapshot_days=7),
    cache=Cache(size="cache.t4g.small", replicas=1, shards=1, snapshot_days=1),
    graph=Neptune(),
    api=Fleet(cpu=1024, memory_mb=2048, least=2, most=10),
    worker=Workers(cpu=1024, memory_mb=4096, least=2, most=20, on_demand=1),
    vectors=Task(cpu=1024, memory_mb=4096),
    pipeline=Pipeline(cpu=1024, memory_mb=4096),
    usage=Usage(
        requests_per_second=5,
        received_gb=50,
        sent_gb=50,
        nat_gb=100,
        between_zones_gb=50,
        api_tasks_above_least=0.5,
        workers_above_least=1,
        pipeline_hours=60,
        backfill_hours=20,
        database_gb=50,
        redis_gb=0.5,
        graph_gb=10,
        graph_ncu=2,
        graph_million_io=20,
        vectors_gb=20,
        vectors_read_gb=100,
        vectors_written_gb=40,
        files_gb=200,
        files_thousand_writes=200,
        access_log_gb=5,
        log_gb=20,
        flow_log_gb=10,
        store_log_gb=3,
        image_gb=20,
        secret_thousand_calls=50,
        key_thousand_calls=1000,
    ),
)
ENVIRONMENTS: Mapping[str, Environment] = {one.name: one for one in (DEVELOPMENT, PRODUCTION)}


def named(name: str) -> Environment:
    """One of those that come with Pegasus. Raises ``NotFound``."""
    if name not in ENVIRONMENTS:
        raise NotFound(
            f"There is no environment {name!r}; there are {', '.join(ENVIRONMENTS)}.",
            hint="One of your own is a file like docs/reference/environment.toml: pegasus aws plan --file FILE.",
        )
    return ENVIRONMENTS[name]


def load(path: Path) -> Environment:
    """An environment of one's own. Its values stand over those of the one that ``like`` names.

    Raises ``Invalid`` naming each bad value and what it takes.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Invalid(f"{path} cannot be read as TOML: {error}.", hint="Mend the file.") from error
    like = given.pop("like", None)
    return _validated(_over(named(str(like)).model_dump() if like else {}, given), str(path))


def with_values(environment: Environment, values: Mapping[str, Any]) -> Environment:
    """The same with other values, given in tables as a file has them. Raises ``Invalid``."""
    return _validated(_over(environment.model_dump(), values), "What is to be changed")


def _validated(values: Mapping[str, Any], where: str) -> Environment:
    try:
        return Environment.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors())
        raise Invalid(f"{where}: {wrong}", hint="See docs/reference/environment.toml for each value.") from error


def _over(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values over values, table by table; a graph of another engine has nothing of the base's."""
    merged = dict(base)
    for name, value in given.items():
        below = merged.get(name)
        same = isinstance(value, Mapping) and isinstance(below, Mapping)
        if same and value.get("engine", below.get("engine")) == below.get("engine"):  # type: ignore[union-attr]
            merged[name] = _over(below, value)  # type: ignore[arg-type]
        else:
            merged[name] = value
    return merged
