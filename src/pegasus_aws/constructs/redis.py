"""Two groups of ElastiCache: one carries jobs, the other is a cache. They cannot be one.

Celery's broker does not work on a cluster (MOVED, CROSSSLOT, no SELECT: github.com/celery/celery/issues/9019), and must
not forget what it was given; a cache should be spread, and should forget.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Split, Sub
from troposphere.elasticache import ParameterGroup, ReplicationGroup, SubnetGroup, User, UserGroup
from troposphere.policies import UpdatePolicy

from pegasus_aws import names
from pegasus_aws.constructs.keeping import SNAPSHOT
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.secrets import composed, generated, resolved
from pegasus_aws.constructs.stack import Stack, because
from pegasus_aws.environments import Broker, Cache

# Valkey is what Redis was before its licence changed, and a fifth cheaper.
_ENGINE, _VERSION, _FAMILY = "valkey", "8.1", "valkey8"
_BY_USER = "A user with an access string (RBAC) has the password; an AUTH token is what that superseded."


def redis(stack: Stack, key: Any) -> None:
    environment = stack.environment
    stack.add(
        SubnetGroup(
            "RedisSubnets",
            Description="Subnets without a way out",
            SubnetIds=Split(",", stack.take("network", "StoreSubnets")),
        )
    )
    _user(stack, key)
    _group(stack, "broker", environment.broker, key)
    _group(stack, "cache", environment.cache, key)
    login = f"{environment.name}:{resolved('RedisUserSecret', 'password')}"
    composed(
        stack, "RedisSecret", "redis", "Where Pegasus finds its broker and its cache", key,
        broker_url=f"rediss://{login}@${{Broker.PrimaryEndPoint.Address}}:6379/0",
        cache_url=f"rediss://{login}@${{Cache.ConfigurationEndPoint.Address}}:6379/0?cluster=true",
    )  # fmt: skip


def _user(stack: Stack, key: Any) -> None:
    name = stack.environment.name
    generated(stack, "RedisUserSecret", "redis-user", "The password of the user of both", key, "password")
    stack.add(
        User(
            "RedisUser",
            Engine=_ENGINE,
            UserId=names.cluster(stack.environment),
            UserName=name,
            # INFO is among the dangerous ones, and tells a client what it talks to.
            AccessString="on ~* &* +@all -@dangerous +info",
            Passwords=[Sub(resolved("RedisUserSecret", "password"))],
        )
    )
    stack.add(
        UserGroup(
            "RedisUsers", Engine=_ENGINE, UserGroupId=names.cluster(stack.environment), UserIds=[Ref("RedisUser")]
        )
    )


def _group(stack: Stack, name: str, values: Broker, key: Any) -> None:
    clustered = isinstance(values, Cache)
    # What is queued is never forgotten to make room; what is cached may be.
    parameters = {"maxmemory-policy": "allkeys-lru" if clustered else "noeviction"}
    parameters["cluster-enabled"] = "yes" if clustered else "no"
    title = names.title(name)
    stack.add(
        ParameterGroup(
            f"{title}Parameters",
            Description=f"What the {name} does when it is full",
            CacheParameterGroupFamily=_FAMILY,
            Properties=parameters,
        )
    )
    made = ReplicationGroup(
        title,
        ReplicationGroupDescription=f"Pegasus {stack.environment.name}, {name}",
        Engine=_ENGINE,
        EngineVersion=_VERSION,
        CacheNodeType=values.size,
        CacheParameterGroupName=Ref(f"{title}Parameters"),
        CacheSubnetGroupName=Ref("RedisSubnets"),
        SecurityGroupIds=[stack.take("network", group(name))],
        # A cluster wants failover even where there is nothing to fail over to.
        AutomaticFailoverEnabled=clustered or values.replicas > 0,
        MultiAZEnabled=values.replicas > 0,
        TransitEncryptionEnabled=True,
        TransitEncryptionMode="required",
        AtRestEncryptionEnabled=True,
        KmsKeyId=key,
        UserGroupIds=[Ref("RedisUsers")],
        SnapshotRetentionLimit=values.snapshot_days,
        SnapshotWindow="02:00-03:00",
        PreferredMaintenanceWindow="sun:05:30-sun:06:30",
        AutoMinorVersionUpgrade=True,
        Metadata=because(CKV_AWS_31=_BY_USER),
        **SNAPSHOT,
        **_shape(values),
    )
    stack.add(made)
    stack.give(title, Ref(made))
    address = GetAtt(made, "ConfigurationEndPoint.Address" if clustered else "PrimaryEndPoint.Address")
    stack.give(f"{title}Address", address)


def _shape(values: Broker) -> dict[str, Any]:
    if not isinstance(values, Cache):
        return {"ClusterMode": "disabled", "NumCacheClusters": 1 + values.replicas}
    return {
        "ClusterMode": "enabled",
        "NumNodeGroups": values.shards,
        "ReplicasPerNodeGroup": values.replicas,
        # Another number of shards moves keys instead of making a new group.
        "UpdatePolicy": UpdatePolicy(UseOnlineResharding=True),
    }
