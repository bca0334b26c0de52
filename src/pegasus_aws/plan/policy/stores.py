"""Stores that do not lose what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pegasus_aws import application, capacity
from pegasus_aws.plan.policy.system import Found, System, containers, rule

# The last day of standard support; after it each vCPU-hour costs extra.
# docs.aws.amazon.com/AmazonRDS/latest/PostgreSQLReleaseNotes/postgresql-release-calendar.html
SUPPORTED: Mapping[str, frozenset[str]] = {
    "postgres": frozenset({"15", "16", "17", "18"}),
    "neptune": frozenset({"1.4"}),
    "valkey": frozenset({"8"}),
}


@rule("broker-cluster", "Celery's broker cannot live on a cluster (MOVED, CROSSSLOT): ClusterMode disabled.")
def _broker_cluster(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ElastiCache::ReplicationGroup"):
        clustered = properties.get("ClusterMode") != "disabled" or "NumNodeGroups" in properties
        if name == "Broker" and clustered:
            yield stack, name, "The broker is in cluster mode."
    for stack, name, container in containers(system):
        for variable in container.get("Environment", []):
            if variable["Name"] == "REDIS_URL" and "cluster" in json.dumps(variable["Value"]):
                yield stack, name, "REDIS_URL names a cluster."


@rule("broker-forgets", "Set maxmemory-policy noeviction in the broker's parameters.")
def _broker_forgets(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ElastiCache::ParameterGroup"):
        eviction = properties.get("Properties", {}).get("maxmemory-policy")
        if name.startswith("Broker") and eviction != "noeviction":
            yield stack, name, f"A full broker forgets jobs: maxmemory-policy is {eviction}."


@rule("redis-user", "Name a user group (RBAC): a group without one lets everybody in.")
def _redis_user(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::ElastiCache::ReplicationGroup"):
        if not properties.get("UserGroupIds") and not properties.get("AuthToken"):
            yield stack, name, "It asks nobody for a password."


@rule("neptune-signature", "Set IamAuthEnabled.")
def _neptune_signature(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::Neptune::DBCluster"):
        if properties.get("IamAuthEnabled") not in (True, "true"):
            yield stack, name, "It asks nobody for a signature."


@rule("backups", "Keep automatic backups for 7 days and more, and tag it for AWS Backup.")
def _backups(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::RDS::DBInstance", "AWS::Neptune::DBCluster"):
        if int(properties.get("BackupRetentionPeriod", 0)) < (7 if name == "Database" else 1):
            yield stack, name, "It cannot be set back to any second of the last days."
    for stack, name, properties in system.of("AWS::ElastiCache::ReplicationGroup"):
        if not int(properties.get("SnapshotRetentionLimit", 0)):
            yield stack, name, "It has no snapshots."
    tagged = ("AWS::RDS::DBInstance", "AWS::Neptune::DBCluster", "AWS::EFS::FileSystem", "AWS::EC2::Volume")
    for stack, name, properties in system.of(*tagged):
        if "pegasus:backup" not in json.dumps(properties):
            yield stack, name, "AWS Backup does not see it."


@rule("kept", "Retain it, or leave a snapshot, when its resource goes: keeping.RETAIN or keeping.SNAPSHOT.")
def _kept(system: System) -> Iterator[Found]:
    stateful = (
        "AWS::RDS::DBInstance", "AWS::Neptune::DBCluster", "AWS::ElastiCache::ReplicationGroup", "AWS::EC2::Volume",
        "AWS::EFS::FileSystem", "AWS::S3::Bucket", "AWS::KMS::Key", "AWS::Backup::BackupVault", "AWS::ECR::Repository",
    )  # fmt: skip
    for stack, name, resource in system.resources():
        kept = ("Retain", "RetainExceptOnCreate", "Snapshot")
        if resource["Type"] in stateful and not (
            resource.get("DeletionPolicy") in kept and resource.get("UpdateReplacePolicy") in kept
        ):
            yield stack, name, "Its data would go with it."


@rule("protected", "Leave protected on for what it is on for: deletion protection of database, graph and balancer.")
def _protected(system: System) -> Iterator[Found]:
    if not system.environment.protected:
        return
    for stack, name, properties in system.of("AWS::RDS::DBInstance", "AWS::Neptune::DBCluster"):
        if properties.get("DeletionProtection") not in (True, "true"):
            yield stack, name, "It can be deleted with one call."
    wanted = {"Key": "deletion_protection.enabled", "Value": "true"}
    for stack, name, properties in system.of("AWS::ElasticLoadBalancingV2::LoadBalancer"):
        if wanted not in properties.get("LoadBalancerAttributes", []):
            yield stack, name, "It can be deleted with one call."


@rule("supported-version", "Take a version in standard support; after its end each vCPU-hour costs extra.")
def _supported_version(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::RDS::DBInstance"):
        if str(properties.get("EngineVersion")).partition(".")[0] not in SUPPORTED["postgres"]:
            yield stack, name, f"PostgreSQL {properties.get('EngineVersion')} is past its support, or unknown here."
    for stack, name, properties in system.of("AWS::Neptune::DBCluster"):
        if ".".join(str(properties.get("EngineVersion")).split(".")[:2]) not in SUPPORTED["neptune"]:
            yield stack, name, f"Neptune {properties.get('EngineVersion')} is past its support, or unknown here."
    for stack, name, properties in system.of("AWS::ElastiCache::ReplicationGroup"):
        engine, version = str(properties.get("Engine")), str(properties.get("EngineVersion"))
        if version.partition(".")[0] not in SUPPORTED.get(engine, frozenset()):
            yield stack, name, f"{engine} {version} is past its support, or unknown here."


@rule("database-authority", "Add the authority to rds-global-bundle.pem as decision 22 says, or take another region.")
def _database_authority(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::RDS::DBInstance"):
        kind = str(properties.get("CACertificateIdentifier")).removeprefix("rds-ca-").replace("-", " ").upper()
        authority = f"Amazon RDS {system.environment.region} Root CA {kind}"
        if authority not in application.database_authorities():
            yield stack, name, f"The image does not know {authority!r}: no task could verify whom it talks to."


@rule("connection-budget", "Take a larger database.size, fewer tasks at most, or fewer database.connections.")
def _connection_budget(system: System) -> Iterator[Found]:
    environment = system.environment
    there, wanted = capacity.connections_there(environment.database.size), capacity.connections_wanted(environment)
    if there is None:
        yield "data", "template", f"It is not known how many connections {environment.database.size} has."
    elif wanted > there:
        yield (
            "data",
            "template",
            f"{capacity.processes(environment)} processes in the middle of a deployment want {wanted} connections; "
            f"{environment.database.size} has about {there}.",
        )
