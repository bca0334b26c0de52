"""Environments by machine: every combination of values that may be written down."""

from __future__ import annotations

from hypothesis import strategies as st

from pegasus_aws.environments import (
    FARGATE_MEMORY,
    PRODUCTION,
    Broker,
    Budget,
    Cache,
    Database,
    Environment,
    Fleet,
    Google,
    Neo4j,
    Neptune,
    Network,
    Pipeline,
    Task,
    Workers,
)
from pegasus_aws.usage import Usage

_AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/providers/pegasus"


@st.composite
def _sizes(draw: st.DrawFn) -> dict[str, int]:
    cpu = draw(st.sampled_from(sorted(FARGATE_MEMORY)))
    least, most, step = FARGATE_MEMORY[cpu]
    return {"cpu": cpu, "memory_mb": draw(st.integers(0, (most - least) // step)) * step + least}


@st.composite
def _counts(draw: st.DrawFn) -> dict[str, int]:
    least = draw(st.integers(1, 5))
    return {"least": least, "most": least + draw(st.integers(0, 20))}


@st.composite
def _networks(draw: st.DrawFn) -> Network:
    zones = draw(st.integers(2, 3))
    return Network(
        cidr=f"10.{draw(st.integers(0, 255))}.0.0/16",
        zones=zones,
        nat_gateways=draw(st.sampled_from((0, 1, zones))),
        flow_logs=draw(st.sampled_from(("ALL", "REJECT"))),
    )


@st.composite
def _databases(draw: st.DrawFn) -> Database:
    storage = draw(st.integers(20, 1000))
    return Database(
        size=draw(st.sampled_from(("db.t3.micro", "db.t4g.micro", "db.t4g.medium", "db.r6g.large", "db.m7g.2xlarge"))),
        version=draw(st.sampled_from(("16.14", "17.10", "18"))),
        multi_az=draw(st.booleans()),
        storage_gb=storage,
        storage_limit_gb=storage * 2,
        backup_days=draw(st.integers(7, 35)),
        connections=draw(st.integers(1, 8)),
    )


@st.composite
def _graphs(draw: st.DrawFn) -> Neptune | Neo4j:
    if draw(st.booleans()):
        return Neo4j(size=draw(st.sampled_from(("t4g.small", "r7g.large"))), storage_gb=draw(st.integers(10, 500)))
    least = draw(st.integers(1, 8))
    return Neptune(replicas=draw(st.integers(0, 3)), least_ncu=least, most_ncu=least + 4)


@st.composite
def _googles(draw: st.DrawFn) -> Google | None:
    if draw(st.booleans()):
        return None
    audience = draw(st.sampled_from((None, _AUDIENCE)))
    return Google(project_id="a-project", agent_engine_id="42", audience=audience)


@st.composite
def environments(draw: st.DrawFn) -> Environment:
    nodes = st.sampled_from(("cache.t3.micro", "cache.t4g.small", "cache.r6g.large"))
    spot, on_demand = draw(st.booleans()), draw(st.integers(0, 3))
    return Environment(
        name=draw(st.sampled_from(("mine", "dev", "production", "a-long-name-16x"))),
        region=draw(st.sampled_from(("us-east-1", "eu-west-1", "ap-southeast-2"))),
        architecture=draw(st.sampled_from(("ARM64", "X86_64"))),
        protected=draw(st.booleans()),
        log_retention_days=draw(st.sampled_from((1, 30, 3653))),
        budget=Budget(least_usd=0, most_usd=1e6),
        network=draw(_networks()),
        database=draw(_databases()),
        broker=Broker(size=draw(nodes), replicas=draw(st.integers(0, 2))),
        cache=Cache(size=draw(nodes), replicas=draw(st.integers(0, 2)), shards=draw(st.integers(1, 4))),
        graph=draw(_graphs()),
        api=Fleet(**draw(_sizes()), **draw(_counts())),
        worker=Workers(**draw(_sizes()), **draw(_counts()), spot=spot, on_demand=on_demand),
        scheduler=Task(**draw(_sizes())),
        vectors=Task(**draw(_sizes())),
        pipeline=Pipeline(
            **draw(_sizes()),
            backfill_vcpus=draw(st.integers(1, 16)),
            buckets=draw(st.sampled_from(((), ("a-bucket",)))),
        ),
        google=draw(_googles()),
        usage=draw(st.sampled_from((Usage(), Usage(**dict.fromkeys(Usage.model_fields, 0)), PRODUCTION.usage))),
    )
