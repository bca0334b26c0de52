"""PostgreSQL on RDS, its own parameters, and a password that changes by itself."""

from __future__ import annotations

import json
from typing import Any

from troposphere import GetAtt, Join, Ref, Split, Sub, Tags
from troposphere.logs import LogGroup
from troposphere.rds import DBInstance, DBParameterGroup, DBSubnetGroup, MasterUserSecret
from troposphere.secretsmanager import HostedRotationLambda, RotationRules, RotationSchedule

from pegasus_aws import application, names
from pegasus_aws.constructs.iam import role
from pegasus_aws.constructs.keeping import BACKUP_TAG, SNAPSHOT
from pegasus_aws.constructs.reach import group
from pegasus_aws.constructs.secrets import generated
from pegasus_aws.constructs.stack import Stack, because
from pegasus_aws.reachability import POSTGRES_PORT

DATABASE = "pegasus"
_ROTATION_DAYS = 30
_PARAMETERS = {
    "rds.force_ssl": "1",
    "shared_preload_libraries": "pg_stat_statements",
    "log_min_duration_statement": "1000",
    # A slow statement is logged without its values: they are what people wrote.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_lock_waits": "1",
    "idle_in_transaction_session_timeout": "300000",
}


def postgres(stack: Stack, key: Any) -> None:
    environment = stack.environment
    values = environment.database
    stack.add(
        DBSubnetGroup(
            "DatabaseSubnets",
            DBSubnetGroupDescription="Subnets without a way out",
            SubnetIds=Split(",", stack.take("network", "StoreSubnets")),
        )
    )
    parameters = stack.add(
        DBParameterGroup(
            "DatabaseParameters",
            Description="TLS for all, slow statements without their values",
            Family=f"postgres{values.version.partition('.')[0]}",
            Parameters=_PARAMETERS,
        )
    )
    monitoring = stack.add(
        role(
            "DatabaseMonitoringRole",
            "monitoring.rds.amazonaws.com",
            managed=[Sub("arn:${AWS::Partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole")],
        )
    )
    logs = [_log_group(stack, kind, key) for kind in ("postgresql", "upgrade")]
    database = stack.add(
        DBInstance(
            "Database",
            # A name of its own, so that the log groups can be there before it and a replacement is refused.
            DBInstanceIdentifier=names.cluster(environment),
            Engine="postgres",
            EngineVersion=values.version,  # The minor one is AWS's to choose, in the window for maintenance.
            AutoMinorVersionUpgrade=True,
            DBInstanceClass=values.size,
            DBName=DATABASE,
            MasterUsername="pegasus_admin",
            ManageMasterUserPassword=True,
            MasterUserSecret=MasterUserSecret(KmsKeyId=key),
            EnableIAMDatabaseAuthentication=True,
            MultiAZ=values.multi_az,
            StorageType="gp3",
            AllocatedStorage=str(values.storage_gb),
            MaxAllocatedStorage=values.storage_limit_gb,
            StorageEncrypted=True,
            KmsKeyId=key,
            DBSubnetGroupName=Ref("DatabaseSubnets"),
            VPCSecurityGroups=[stack.take("network", group("database"))],
            PubliclyAccessible=False,
            CACertificateIdentifier="rds-ca-rsa2048-g1",
            DBParameterGroupName=Ref(parameters),
            BackupRetentionPeriod=values.backup_days,
            PreferredBackupWindow="03:00-04:00",
            PreferredMaintenanceWindow="sun:04:30-sun:05:30",
            CopyTagsToSnapshot=True,
            DeleteAutomatedBackups=not environment.protected,
            EnablePerformanceInsights=True,
            PerformanceInsightsKMSKeyId=key,
            PerformanceInsightsRetentionPeriod=7,  # So many days are free.
            MonitoringInterval=60,
            MonitoringRoleArn=GetAtt(monitoring, "Arn"),
            EnableCloudwatchLogsExports=["postgresql", "upgrade"],
            DeletionProtection=environment.protected,
            Tags=Tags(**{BACKUP_TAG: environment.name}),
            DependsOn=[one.title for one in logs],
            Metadata=because(**_reasons(values.multi_az, environment.protected)),
            **SNAPSHOT,
        )
    )
    address = GetAtt(database, "Endpoint.Address")
    stack.give("Database", Ref(database))
    stack.give("DatabaseAddress", address)
    stack.give("DatabaseAdminSecret", GetAtt(database, "MasterUserSecret.SecretArn"))
    _login(stack, key)


def _reasons(multi_az: bool, protected: bool) -> dict[str, str]:
    reasons = {}
    if not multi_az:
        reasons["CKV_AWS_157"] = "database.multi_az is off in this environment: a failed zone is waited for."
    if not protected:
        reasons["CKV_AWS_293"] = "protected is off in this environment: it may be destroyed, and leaves a snapshot."
    return reasons


def _log_group(stack: Stack, kind: str, key: Any) -> LogGroup:
    return _ending(
        stack,
        names.title("database", kind, "logs"),
        f"/aws/rds/instance/{names.cluster(stack.environment)}/{kind}",
        key,
    )


def _ending(stack: Stack, title: str, name: str, key: Any) -> LogGroup:
    """AWS would make the group itself, and keep its events for ever."""
    return stack.add(
        LogGroup(
            title,
            LogGroupName=name,
            RetentionInDays=stack.environment.log_retention_days,
            KmsKeyId=key,
        )
    )


def _login(stack: Stack, key: Any) -> None:
    """The secret by the names that the function of AWS which changes the password knows."""
    known = {
        "engine": "postgres", "host": "${Database.Endpoint.Address}", "port": POSTGRES_PORT,
        "dbname": DATABASE, "database": DATABASE,  # As that function calls it, and as the plan does.
        "username": application.DATABASE_LOGINS[0], "masterarn": "${Database.MasterUserSecret.SecretArn}",
    }  # fmt: skip
    secret = generated(
        stack,
        "PostgresSecret",
        "postgres",
        "What Pegasus logs into PostgreSQL with",
        key,
        "password",
        Sub(json.dumps(known)),
    )
    rotation = f"{names.cluster(stack.environment)}-postgres-rotation"
    logs = _ending(stack, "RotationLogs", f"/aws/lambda/{rotation}", key)
    stack.template.set_transform("AWS::SecretsManager-2024-09-16")
    stack.add(
        RotationSchedule(
            "PostgresRotation",
            SecretId=GetAtt(secret, "Id"),
            DependsOn=logs.title,
            # The logins are made by a task, with the first release; before that there is no password to change.
            RotateImmediatelyOnUpdate=False,
            RotationRules=RotationRules(AutomaticallyAfterDays=_ROTATION_DAYS),
            HostedRotationLambda=HostedRotationLambda(
                RotationType="PostgreSQLMultiUser",
                RotationLambdaName=rotation,
                SuperuserSecretArn=GetAtt("Database", "MasterUserSecret.SecretArn"),
                SuperuserSecretKmsKeyArn=key,
                KmsKeyArn=key,
                ExcludeCharacters="""!"#$%&'()*+,-./:;<=>?@[]^_`{|}~\\""",
                VpcSubnetIds=stack.take("network", "PrivateSubnets"),
                VpcSecurityGroupIds=Join(",", [stack.take("network", group("rotation"))]),
            ),
        )
    )
