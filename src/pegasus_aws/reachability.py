"""Who may talk to whom on which port: the one table that the security groups and their picture are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pegasus_aws import application
from pegasus_aws.environments import Environment, Neptune

INTERNET = "internet"
POSTGRES_PORT, REDIS_PORT, NFS_PORT, HTTP_PORT, HTTPS_PORT = 5432, 6379, 2049, 80, 443
NEPTUNE_PORT, BOLT_PORT = 8182, 7687

# Each has a security group of its own.
PARTIES: Mapping[str, str] = {
    "balancer": "Takes requests from anywhere and hands them to the API",
    "api": "Answers requests: pegasus api",
    "worker": "Does the jobs: pegasus worker",
    "scheduler": "Hands out the jobs: pegasus scheduler",
    "pipeline": "Looks at sources: pegasus pipeline run",
    "roles": "Makes the roles of the database: pegasus schema roles",
    "migration": "Brings the schema forward: pegasus schema upgrade",
    "vectors": "Chroma",
    "database": "PostgreSQL",
    "rotation": "Changes the password of PostgreSQL",
    "broker": "Redis that carries jobs",
    "cache": "Redis for limits and caches",
    "graph": "Neptune or Neo4j",
    "files": "The directory of Chroma on EFS",
    "endpoints": "Doors to AWS for those without a way to the internet",
}


@dataclass(frozen=True, slots=True)
class Flow:
    source: str
    target: str
    port: int
    why: str


def flows(environment: Environment) -> tuple[Flow, ...]:
    graph = NEPTUNE_PORT if isinstance(environment.graph, Neptune) else BOLT_PORT
    found = [
        Flow(INTERNET, "balancer", HTTP_PORT, "only to be sent to 443"),
        Flow(INTERNET, "balancer", HTTPS_PORT, "requests"),
        Flow("balancer", "api", application.PORT, "requests and health"),
        Flow("rotation", "database", POSTGRES_PORT, "a new password"),
        Flow("roles", "database", POSTGRES_PORT, "the roles"),
        Flow("roles", INTERNET, HTTPS_PORT, "image, secrets, logs"),
        Flow("migration", "database", POSTGRES_PORT, "the schema"),
        Flow("migration", INTERNET, HTTPS_PORT, "image, secrets, logs"),
        Flow("vectors", "files", NFS_PORT, "its directory"),
        Flow("vectors", INTERNET, HTTPS_PORT, "image, logs"),
    ]
    for one in ("api", "worker", "scheduler", "pipeline"):
        found += [
            Flow(one, "database", POSTGRES_PORT, "rows and words"),
            Flow(one, "broker", REDIS_PORT, "jobs"),
            Flow(one, "cache", REDIS_PORT, "limits and caches"),
            Flow(one, "vectors", application.VECTORS_PORT, "vectors"),
            Flow(one, "graph", graph, "the graph"),
            Flow(one, INTERNET, HTTPS_PORT, "AWS, Vertex AI, pages"),
        ]
    for one in ("worker", "pipeline"):  # They fetch what sources name: pages and mailboxes.
        found += [Flow(one, INTERNET, HTTP_PORT, "pages"), Flow(one, INTERNET, 993, "mailboxes over IMAP")]
    if not isinstance(environment.graph, Neptune):
        found.append(Flow("graph", INTERNET, HTTPS_PORT, "packages, image, secrets"))
    if environment.network.nat_gateways:
        found.append(Flow("rotation", INTERNET, HTTPS_PORT, "Secrets Manager and RDS"))
    else:
        found.append(Flow("rotation", "endpoints", HTTPS_PORT, "Secrets Manager and RDS"))
    return tuple(found)


def parties(environment: Environment) -> tuple[str, ...]:
    """Those that take part in this environment."""
    named = {end for flow in flows(environment) for end in (flow.source, flow.target)}
    return tuple(party for party in PARTIES if party in named)
