"""The graph in Neptune: serverless, private, asked with signatures only."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Split, Sub, Tags
from troposphere.logs import LogGroup
from troposphere.neptune import (
    DBCluster,
    DBClusterParameterGroup,
    DBInstance,
    DBParameterGroup,
    DBSubnetGroup,
    ServerlessScalingConfiguration,
)

from pegasus_aws import names
from pegasus_aws.constructs.keeping import BACKUP_TAG, SNAPSHOT
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Neptune
from pegasus_aws.reachability import NEPTUNE_PORT


def neptune(stack: Stack, values: Neptune, key: Any) -> None:
    environment = stack.environment
    identifier = f"{names.cluster(environment)}-graph"
    family = f"neptune{'.'.join(values.version.split('.')[:2])}"
    stack.add(
        DBSubnetGroup(
            "GraphSubnets",
            DBSubnetGroupDescription="Subnets without a way out",
            SubnetIds=Split(",", stack.take("network", "StoreSubnets")),
        )
    )
    stack.add(
        DBClusterParameterGroup(
            "GraphClusterParameters",
            Description="Who asked what is written down",
            Family=family,
            Parameters={"neptune_enable_audit_log": 1},
        )
    )
    stack.add(
        DBParameterGroup(
            "GraphParameters",
            Description="A question ends after a minute and a half, as the one who asks has gone by then",
            Family=family,
            Parameters={"neptune_query_timeout": 90_000},
        )
    )
    logs = stack.add(
        LogGroup(
            "GraphAuditLogs",
            LogGroupName=f"/aws/neptune/{identifier}/audit",
            RetentionInDays=environment.log_retention_days,
            KmsKeyId=key,
        )
    )
    cluster = stack.add(
        DBCluster(
            "Graph",
            DBClusterIdentifier=identifier,  # Known before it is there, for its log group.
            EngineVersion=values.version,
            DBPort=NEPTUNE_PORT,
            DBSubnetGroupName=Ref("GraphSubnets"),
            DBClusterParameterGroupName=Ref("GraphClusterParameters"),
            VpcSecurityGroupIds=[stack.take("network", group("graph"))],
            IamAuthEnabled=True,
            StorageEncrypted=True,
            KmsKeyId=key,
            ServerlessScalingConfiguration=ServerlessScalingConfiguration(
                MinCapacity=values.least_ncu, MaxCapacity=values.most_ncu
            ),
            BackupRetentionPeriod=values.backup_days,
            PreferredBackupWindow="03:00-04:00",
            PreferredMaintenanceWindow="sun:06:30-sun:07:30",
            CopyTagsToSnapshot=True,
            EnableCloudwatchLogsExports=["audit"],
            DeletionProtection=environment.protected,
            Tags=Tags(**{BACKUP_TAG: environment.name}),
            DependsOn=logs.title,
            **SNAPSHOT,
        )
    )
    for number in range(1 + values.replicas):
        stack.add(
            DBInstance(
                f"GraphInstance{number}",
                DBClusterIdentifier=Ref(cluster),
                DBInstanceClass="db.serverless",
                DBParameterGroupName=Ref("GraphParameters"),
                AutoMinorVersionUpgrade=True,
            )
        )
    stack.give("GraphResource", GetAtt(cluster, "ClusterResourceId"))
    stack.give("GraphAddress", GetAtt(cluster, "Endpoint"))
    stack.give(
        "GraphUrl",
        Sub(f"bolt+s://${{Graph.Endpoint}}:{NEPTUNE_PORT}?auth=sigv4&region=${{AWS::Region}}"),
    )
