"""Violations to plant in sound templates: for each rule of the policy at least one that it must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Templates = dict[str, Any]
Change = Callable[[Templates], None]


@dataclass(frozen=True, slots=True)
class Planted:
    rule: str
    name: str
    change: Change
    environment: str = "production"


def put(stack: str, resource: str, path: str, value: Any) -> Change:
    """Set a property, given as ``DeploymentConfiguration.MaximumPercent``; a number is a place in a list."""

    def change(templates: Templates) -> None:
        *way, last = path.split(".")
        place = templates[stack]["Resources"][resource]["Properties"]
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value

    return change


def drop(stack: str, resource: str, path: str) -> Change:
    def change(templates: Templates) -> None:
        *way, last = path.split(".")
        place = templates[stack]["Resources"][resource]["Properties"]
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        del place[int(last) if isinstance(place, list) else last]

    return change


def add(stack: str, kind: str, **properties: Any) -> Change:
    return lambda templates: templates[stack]["Resources"].update(Planted={"Type": kind, "Properties": properties})


def remove(stack: str, resource: str) -> Change:
    return lambda templates: templates[stack]["Resources"].pop(resource) and None


def outside(stack: str, resource: str, name: str, value: Any) -> Change:
    """Set what stands beside the properties: DeletionPolicy, Metadata."""
    return lambda templates: templates[stack]["Resources"][resource].update({name: value})


def allow(action: Any, resource: Any, **more: Any) -> Change:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return add("platform", "AWS::IAM::ManagedPolicy", PolicyDocument=document)


def variable(name: str, value: Any) -> Change:
    def change(templates: Templates) -> None:
        container = templates["services"]["Resources"]["BackendApiTask"]["Properties"]["ContainerDefinitions"][0]
        container["Environment"] = [one for one in container["Environment"] if one["Name"] != name]
        container["Environment"].append({"Name": name, "Value": value})

    return change


def _trust(principal: str) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"}]}


def _many(templates: Templates) -> None:
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 1}}
    templates["data"]["Resources"] |= {f"Group{number}": group for number in range(501)}


def _large(templates: Templates) -> None:
    templates["data"]["Description"] = "x" * 1_000_001


def _default_password(templates: Templates) -> None:
    templates["services"]["Parameters"]["DatabasePassword"] = {"Type": "String", "Default": "hunter2"}


def _same_role(templates: Templates) -> None:
    tasks = templates["services"]["Resources"]
    tasks["SchedulerTask"]["Properties"]["TaskRoleArn"] = tasks["BackendApiTask"]["Properties"]["TaskRoleArn"]


API, CHROMA = "BackendApiTask", "ChromadbService"
CONTAINER = "ContainerDefinitions.0"

PLANTED: tuple[Planted, ...] = (
    Planted("wildcard-action", "every action of a service", allow("s3:*", "arn:aws:s3:::bucket")),
    Planted("wildcard-action", "all but some", allow([], "arn:aws:s3:::bucket", NotAction="iam:*")),
    Planted("wildcard-resource", "every bucket", allow("s3:GetObject", "*")),
    Planted("wildcard-principal", "anybody reads the files", add(
        "data", "AWS::S3::BucketPolicy", Bucket={"Ref": "FilesBucket"}, PolicyDocument={"Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"},
            {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*",
             "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]})),
    Planted("trust", "a service for any account", add(
        "platform", "AWS::IAM::Role", AssumeRolePolicyDocument=_trust("ecs-tasks.amazonaws.com"))),
    Planted("administrator", "a task is administrator", put(
        "platform", "BackendApiTaskRole", "ManagedPolicyArns", ["arn:aws:iam::aws:policy/AdministratorAccess"])),
    Planted("pass-role", "to any service", allow("iam:PassRole", "arn:aws:iam::1:role/x")),
    Planted("users", "a user with a key", add("platform", "AWS::IAM::AccessKey", UserName="ci")),
    Planted("role-per-task", "two families are one", _same_role),
    Planted("role-per-task", "no role", drop("services", API, "TaskRoleArn")),
    Planted("public-store", "database", put("data", "Database", "PubliclyAccessible", True)),
    Planted("public-store", "second balancer", add(
        "platform", "AWS::ElasticLoadBalancingV2::LoadBalancer", Scheme="internet-facing")),
    Planted("public-store", "subnet", put("network", "PrivateSubnetA", "MapPublicIpOnLaunch", True)),
    Planted("open-port", "database to anybody", add(
        "network", "AWS::EC2::SecurityGroupIngress", GroupId={"Ref": "DatabaseSecurityGroup"}, FromPort=5432,
        CidrIp="0.0.0.0/0")),
    Planted("open-port", "within a group", put(
        "network", "ApiSecurityGroup", "SecurityGroupIngress", [{"FromPort": 22, "CidrIpv6": "::/0"}])),
    Planted("standalone-rules", "groups that name each other", put(
        "network", "ApiSecurityGroup", "SecurityGroupIngress", [{"SourceSecurityGroupId": {"Ref": "X"}}])),
    Planted("standalone-rules", "any way out", drop("network", "DatabaseSecurityGroup", "SecurityGroupEgress")),
    Planted("public-bucket", "no block", drop("data", "FilesBucket", "PublicAccessBlockConfiguration")),
    Planted("public-bucket", "by access list", put("data", "FilesBucket", "AccessControl", "PublicRead")),
    Planted("firewall", "none", remove("platform", "FirewallAssociation")),
    Planted("firewall", "keys in its log", put("platform", "FirewallLogging", "RedactedFields", [])),
    Planted("upload-exception", "core rules on bodies", put(
        "platform", "Firewall", "Rules.1.Statement.ManagedRuleGroupStatement.RuleActionOverrides", [])),
    Planted("encryption", "database", put("data", "Database", "StorageEncrypted", False)),
    Planted("encryption", "bucket", drop("data", "FilesBucket", "BucketEncryption")),
    Planted("encryption", "EFS with no key of ours", drop("data", "VectorsFiles", "KmsKeyId")),
    Planted("encryption", "cache", put("data", "Cache", "AtRestEncryptionEnabled", False)),
    Planted("key-rotation", "off", put("data", "DataKey", "EnableKeyRotation", False)),
    Planted("tls", "balancer answers in the clear", put(
        "platform", "Http", "DefaultActions", [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}])),
    Planted("tls", "TLS 1.0", put("platform", "Https", "SslPolicy", "ELBSecurityPolicy-2016-08")),
    Planted("tls", "broker in the clear", put("data", "Broker", "TransitEncryptionEnabled", False)),
    Planted("tls", "broker in the clear too", put("data", "Broker", "TransitEncryptionMode", "preferred")),
    Planted("tls", "database in the clear", put("data", "DatabaseParameters", "Parameters", {"rds.force_ssl": "0"})),
    Planted("tls", "EFS in the clear", put(
        "services", "ChromadbTask", "Volumes.1.EFSVolumeConfiguration.TransitEncryption", "DISABLED")),
    Planted("tls-only-policy", "bucket", remove("data", "FilesBucketPolicy")),
    Planted("verified-database", "any certificate will do", variable(
        "DATABASE_URL", "postgresql://database:5432/pegasus?sslmode=require")),
    Planted("literal-secret", "master password", put("data", "Database", "MasterUserPassword", "correct-horse")),
    Planted("literal-secret", "AUTH token", put("data", "Broker", "AuthToken", "correct-horse-battery")),
    Planted("literal-secret", "user of Redis", put("data", "RedisUser", "Passwords", ["correct-horse-battery"])),
    Planted("literal-secret", "secret string", put("data", "OperatorSecret", "SecretString", '{"key": "0123456789"}')),
    Planted("literal-secret", "password in a URL", variable("PEGASUS_URL", "https://me:correct-horse@pegasus.example")),
    Planted("literal-secret", "access key", variable("SOMETHING", "AKIAABCDEFGHIJKLMNOP")),
    Planted("literal-secret", "default of a parameter", _default_password),
    Planted("secret-in-environment", "operator's key", variable("PEGASUS_OPERATOR_KEY_PASSWORD", {"Ref": "X"})),
    Planted("secret-in-environment", "resolved into a variable", variable(
        "PEGASUS_FILES_URL", "{{resolve:secretsmanager:x:SecretString:y}}")),
    Planted("secret-form", "${name:key}", put(
        "services", API, f"{CONTAINER}.Secrets.0.ValueFrom", "${pegasus/postgres:username}")),
    Planted("rotation", "never", remove("data", "PostgresRotation")),
    Planted("rotation", "under the feet of tasks", put(
        "data", "PostgresRotation", "HostedRotationLambda.RotationType", "PostgreSQLSingleUser")),
    Planted("hardened-container", "root", put("services", API, f"{CONTAINER}.User", "root")),
    Planted("hardened-container", "user 0", put("services", API, f"{CONTAINER}.User", "0:0")),
    Planted("hardened-container", "root can be written", put(
        "services", API, f"{CONTAINER}.ReadonlyRootFilesystem", False)),
    Planted("hardened-container", "privileged", put("services", API, f"{CONTAINER}.Privileged", True)),
    Planted("hardened-container", "a job of Batch", put("services", "BackfillJob", "ContainerProperties.User", "root")),
    Planted("image-digest", "latest", put("services", API, f"{CONTAINER}.Image", "pegasus/backend:latest")),
    Planted("image-digest", "in another stack", lambda templates: templates["platform"]["Resources"].update(
        Planted=templates["services"]["Resources"][API])),
    Planted("immutable-tags", "tags that move", put("platform", "BackendRepository", "ImageTagMutability", "MUTABLE")),
    Planted("immutable-tags", "for ever", drop("platform", "BackendRepository", "LifecyclePolicy")),
    Planted("health-check", "none", drop("services", API, f"{CONTAINER}.HealthCheck")),
    Planted("health-check", "none of a worker", drop("services", "CeleryWorkerTask", f"{CONTAINER}.HealthCheck")),
    Planted("health-check", "curl", put(
        "services", API, f"{CONTAINER}.HealthCheck.Command", ["CMD", "curl", "http://127.0.0.1:8000/health"])),
    Planted("stop-timeout", "the default", drop("services", "CeleryWorkerTask", f"{CONTAINER}.StopTimeout")),
    Planted("stop-timeout", "more than Fargate gives", put("services", API, f"{CONTAINER}.StopTimeout", 300)),
    Planted("one-chroma", "two tasks", put("services", CHROMA, "DesiredCount", 2)),
    Planted("one-chroma", "two while deploying", put(
        "services", CHROMA, "DeploymentConfiguration.MaximumPercent", 200)),
    Planted("one-chroma", "on Spot", put(
        "services", CHROMA, "CapacityProviderStrategy", [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}])),
    Planted("one-chroma", "scaled", add(
        "services", "AWS::ApplicationAutoScaling::ScalableTarget", ResourceId="service/c/pegasus-production-chromadb")),
    Planted("spot", "API on Spot", put(
        "services", "BackendApiService", "CapacityProviderStrategy",
        [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}])),
    Planted("circuit-breaker", "no rollback", put(
        "services", "BackendApiService", "DeploymentConfiguration.DeploymentCircuitBreaker.Rollback", False)),
    Planted("alarm-exists", "misspelt", put(
        "services", "BackendApiService", "DeploymentConfiguration.Alarms.AlarmNames", ["pegasus-production-api-eror"])),
    Planted("alarm-tells", "nobody", put("observability", "ApiErrorsAlarm", "AlarmActions", [])),
    Planted("alarm-tells", "nothing", drop("observability", "ApiErrorsAlarm", "AlarmDescription")),
    Planted("scaled-service", "a fixed number", put("services", "BackendApiService", "DesiredCount", 2)),
    Planted("broker-cluster", "shards", put("data", "Broker", "NumNodeGroups", 3)),
    Planted("broker-cluster", "cluster mode", put("data", "Broker", "ClusterMode", "enabled")),
    Planted("broker-cluster", "URL of a cluster", variable("REDIS_URL", "rediss://cache:6379/0?cluster=true")),
    Planted("broker-forgets", "least recently used", put(
        "data", "BrokerParameters", "Properties", {"maxmemory-policy": "allkeys-lru"})),
    Planted("redis-user", "no user", drop("data", "Broker", "UserGroupIds")),
    Planted("neptune-signature", "no signature", put("data", "Graph", "IamAuthEnabled", False)),
    Planted("backups", "of the database for a day", put("data", "Database", "BackupRetentionPeriod", 1)),
    Planted("backups", "none of the broker", put("data", "Broker", "SnapshotRetentionLimit", 0)),
    Planted("backups", "none of EFS", drop("data", "VectorsFiles", "FileSystemTags")),
    Planted("backups", "none of Neo4j", drop("data", "GraphDisk", "Tags"), "dev"),
    Planted("kept", "database", outside("data", "Database", "DeletionPolicy", "Delete")),
    Planted("kept", "files", outside("data", "FilesBucket", "UpdateReplacePolicy", "Delete")),
    Planted("protected", "database", put("data", "Database", "DeletionProtection", False)),
    Planted("protected", "graph", put("data", "Graph", "DeletionProtection", False)),
    Planted("protected", "balancer", put("platform", "Balancer", "LoadBalancerAttributes", [])),
    Planted("database-authority", "one of 2019", put("data", "Database", "CACertificateIdentifier", "rds-ca-2019")),
    Planted("supported-version", "PostgreSQL 13", put("data", "Database", "EngineVersion", "13.22")),
    Planted("supported-version", "Neptune 1.2", put("data", "Graph", "EngineVersion", "1.2.1.0")),
    Planted("supported-version", "Redis 5", put("data", "Cache", "Engine", "redis")),
    Planted("log-retention", "for ever", drop("observability", "BackendApiLogs", "RetentionInDays")),
    Planted("log-group-there", "none", remove("observability", "SchedulerLogs")),
    Planted("flow-logs", "none", remove("network", "Flows")),
    Planted("size", "501 resources", _many),
    Planted("size", "a megabyte", _large),
    Planted("imports", "of nobody", put(
        "data", "Database", "KmsKeyId", {"Fn::ImportValue": "pegasus-production-x-Key"})),
    Planted("imports", "of a later stack", put(
        "network", "Vpc", "CidrBlock", {"Fn::ImportValue": "pegasus-production-data-DataKey"})),
)  # fmt: skip
