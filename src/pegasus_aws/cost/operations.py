"""What it takes to run the rest: logs, alarms, secrets, keys, images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pegasus_aws.cost.charges import Charge, Resource, priced

CLOUDWATCH = "CloudWatch"
_LOG_KINDS: Mapping[str, str] = {
    "flows": "of connections", "tasks": "of tasks", "stores": "of stores, firewall and functions",
}  # fmt: skip


@priced("AWS::Logs::LogGroup")
def logs(resource: Resource) -> Iterator[Charge]:
    """A share of what its kind writes, and of what is kept of it until it ends."""
    kind = _kind(resource)
    usage = resource.usage
    written = {"flows": usage.flow_log_gb, "tasks": usage.log_gb, "stores": usage.store_log_gb}[kind]
    groups = [_kind(one) for one in resource.system.of(resource.type)].count(kind)
    months = resource.properties["RetentionInDays"] * 24 / 730
    yield Charge(CLOUDWATCH, f"logs {_LOG_KINDS[kind]}", written / groups, "logs.in")
    yield Charge(CLOUDWATCH, f"logs {_LOG_KINDS[kind]}, kept", written / groups * months, "logs.kept")


def _kind(resource: Resource) -> str:
    flows = [flow.properties["LogGroupName"]["Ref"] for flow in resource.system.of("AWS::EC2::FlowLog")]
    if resource.name in flows:
        return "flows"
    # Groups that AWS writes into have names that it prescribes.
    return "stores" if resource.properties["LogGroupName"].startswith(("/aws/", "aws-")) else "tasks"


@priced("AWS::CloudWatch::Alarm")
def alarm(resource: Resource) -> Iterator[Charge]:
    """An alarm over an expression costs as much as all metrics that the expression looks at."""
    looked_at = [one for one in resource.properties["Metrics"] if "MetricStat" in one]
    yield Charge(CLOUDWATCH, "alarms, by their metrics", len(looked_at), "alarm.metric")


@priced("AWS::ApplicationAutoScaling::ScalingPolicy")
def scaling(resource: Resource) -> Iterator[Charge]:
    """Following a target makes two alarms, one for too much and one for too little."""
    followed = resource.properties["TargetTrackingScalingPolicyConfiguration"]
    given = followed.get("CustomizedMetricSpecification", {}).get("Metrics", [])
    metrics = len([one for one in given if "MetricStat" in one]) or 1
    yield Charge(CLOUDWATCH, "alarms of the scaling", 2 * metrics, "alarm.metric")


@priced("AWS::Logs::MetricFilter")
def metric(_: Resource) -> Iterator[Charge]:
    yield Charge(CLOUDWATCH, "metrics from logs", 1, "metric")


@priced("AWS::SecretsManager::Secret")
def secret(resource: Resource) -> Iterator[Charge]:
    share = resource.usage.secret_thousand_calls / len(resource.system.of(resource.type))
    yield Charge("Secrets Manager", "secrets", 1, "secret")
    yield Charge("Secrets Manager", "looks at secrets", share / 10, "secret.calls")


@priced("AWS::KMS::Key")
def key(resource: Resource) -> Iterator[Charge]:
    yield Charge("KMS", "key", 1, "key")
    yield Charge("KMS", "uses of it", resource.usage.key_thousand_calls / 10, "key.calls")


@priced("AWS::ECR::Repository")
def images(resource: Resource) -> Iterator[Charge]:
    share = resource.usage.image_gb / len(resource.system.of(resource.type))
    yield Charge("ECR", "images", share, "ecr.storage")
