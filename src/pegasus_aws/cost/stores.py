"""Stores: what holds data, and the backups of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pegasus_aws.cost.charges import HOURS, Charge, Resource, priced

RDS, ELASTICACHE, NEPTUNE = "RDS", "ElastiCache", "Neptune"


@priced("AWS::RDS::DBInstance")
def database(resource: Resource) -> Iterator[Charge]:
    given = resource.properties
    twice = " and its standby" if given["MultiAZ"] else ""
    size, disk = given["DBInstanceClass"], float(given["AllocatedStorage"])
    hours = HOURS * (2 if given["MultiAZ"] else 1)
    yield Charge(RDS, f"PostgreSQL{twice}, {size}", hours, f"rds.{size}")
    yield Charge(RDS, f"disk{' in two zones' if twice else ''}", disk, f"rds.storage{'.multi-az' if twice else ''}")
    # As much as the disk is free.
    backups = _held(resource, resource.usage.database_gb, given["BackupRetentionPeriod"]) - disk
    yield Charge(RDS, "backups beyond the disk's size", max(0.0, backups), "rds.backup")
    if given.get("ManageMasterUserPassword"):
        yield Charge("Secrets Manager", "the database's own secret", 1, "secret")


@priced("AWS::ElastiCache::ReplicationGroup")
def valkey(resource: Resource) -> Iterator[Charge]:
    given = resource.properties
    nodes = given.get("NumCacheClusters") or given["NumNodeGroups"] * (1 + given["ReplicasPerNodeGroup"])
    size = given["CacheNodeType"]
    yield Charge(ELASTICACHE, f"nodes, {size}", nodes * HOURS, f"{given['Engine']}.{size}")
    # The first snapshot is free.
    held = resource.usage.redis_gb * (given["SnapshotRetentionLimit"] - 1)
    yield Charge(ELASTICACHE, "snapshots after the first", held, "valkey.snapshot")


@priced("AWS::Neptune::DBInstance")
def graph_instance(resource: Resource) -> Iterator[Charge]:
    """Readers are as large as the writer: that is how they take over."""
    cluster = resource.system.named(resource.stack, resource.properties["DBClusterIdentifier"]["Ref"])
    limits = cluster.properties["ServerlessScalingConfiguration"]
    average = min(max(resource.usage.graph_ncu, limits["MinCapacity"]), limits["MaxCapacity"])
    yield Charge(NEPTUNE, "capacity on average", average * HOURS, "neptune.ncu")


@priced("AWS::Neptune::DBCluster")
def graph(resource: Resource) -> Iterator[Charge]:
    usage = resource.usage
    yield Charge(NEPTUNE, "disk", usage.graph_gb, "neptune.storage")
    yield Charge(NEPTUNE, "reads and writes of it", usage.graph_million_io, "neptune.io")
    # A day of it is free.
    held = _held(resource, usage.graph_gb, resource.properties["BackupRetentionPeriod"]) - _held(
        resource, usage.graph_gb, 1
    )
    yield Charge(NEPTUNE, "backups after the first day", held, "neptune.backup")


@priced("AWS::EC2::Volume")
def volume(resource: Resource) -> Iterator[Charge]:
    yield Charge("EC2", "disk of the graph", resource.properties["Size"], f"ebs.{resource.properties['VolumeType']}")


@priced("AWS::EFS::FileSystem")
def vectors(resource: Resource) -> Iterator[Charge]:
    usage = resource.usage
    yield Charge("EFS", "Chroma's directory", usage.vectors_gb, "efs.storage")
    yield Charge("EFS", "read", usage.vectors_read_gb, "efs.read")
    yield Charge("EFS", "written", usage.vectors_written_gb, "efs.write")


@priced("AWS::S3::Bucket")
def bucket(resource: Resource) -> Iterator[Charge]:
    usage = resource.usage
    others = [one.properties.get("LoggingConfiguration", {}) for one in resource.system.of("AWS::S3::Bucket")]
    if any(one.get("DestinationBucketName") == {"Ref": resource.name} for one in others):
        yield Charge("S3", "access logs", usage.access_log_gb, "s3.storage")
        return
    yield Charge("S3", "original files", usage.files_gb, "s3.storage")
    yield Charge("S3", "files written", usage.files_thousand_writes, "s3.writes")


@priced("AWS::Backup::BackupPlan")
def second_line(resource: Resource) -> Iterator[Charge]:
    """Of whatever store the plan takes, by its tag."""
    (rule,) = resource.properties["BackupPlan"]["BackupPlanRule"]
    held = partial(_held, resource, days=rule["Lifecycle"]["DeleteAfterDays"])
    usage = resource.usage
    yield Charge("AWS Backup", "of the database", held(usage.database_gb), "rds.backup")
    yield Charge("AWS Backup", "of Chroma's directory", held(usage.vectors_gb), "efs.backup")
    if resource.system.of("AWS::Neptune::DBCluster"):
        yield Charge("AWS Backup", "of the graph", held(usage.graph_gb), "neptune.backup")
    else:
        yield Charge("AWS Backup", "of the graph's disk", held(usage.graph_gb), "ebs.snapshot")


def _held(resource: Resource, gb: float, days: float) -> float:
    """What so many days of backups hold: all of it once, and what changed on each day since."""
    return gb * (1 + resource.usage.changed_percent_a_day / 100 * (days - 1))
