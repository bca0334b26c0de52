"""How services follow what is asked of them."""

from __future__ import annotations

from troposphere import Ref
from troposphere.applicationautoscaling import (
    CustomizedMetricSpecification,
    PredefinedMetricSpecification,
    ScalableTarget,
    ScalingPolicy,
    TargetTrackingMetric,
    TargetTrackingMetricDataQuery,
    TargetTrackingMetricDimension,
    TargetTrackingMetricStat,
    TargetTrackingScalingPolicyConfiguration,
)

from pegasus_aws import names
from pegasus_aws.constructs.alarms import Series, log_series, service_series
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Fleet, Workers
from pegasus_aws.names import Family

_CPU_PERCENT, _MEMORY_PERCENT = 70, 80
_OUT_SECONDS, _IN_SECONDS = 60, 300  # Quick to help, slow to leave.


def by_load(stack: Stack, family: Family, values: Fleet) -> None:
    """By CPU and memory: whichever asks for more tasks gets them."""
    _target(stack, family, values)
    for name, percent in (("CPU", _CPU_PERCENT), ("Memory", _MEMORY_PERCENT)):
        kind = PredefinedMetricSpecification(PredefinedMetricType=f"ECSServiceAverage{name}Utilization")
        _policy(stack, family, name, percent, PredefinedMetricSpecification=kind)


def by_backlog(stack: Stack, family: Family, values: Workers) -> None:
    """By jobs that wait for each task. The queue's length alone would not say how many hands it has."""
    _target(stack, family, values)
    environment = stack.environment
    running = service_series(environment, family, "CPUUtilization", "SampleCount")
    metrics = [
        _series("waiting", log_series(environment, "QueueWaiting", "Average")),
        # ECS measures each task once a minute: how many measurements there are is how many tasks ran, at no cost.
        # docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html
        _series("running", running),
        TargetTrackingMetricDataQuery(
            Id="backlog", Expression="waiting / IF(FILL(running, 0) > 0, running, 1)", ReturnData=True
        ),
    ]
    specification = CustomizedMetricSpecification(Metrics=metrics)
    _policy(stack, family, "Backlog", values.backlog_a_task, CustomizedMetricSpecification=specification)


def _target(stack: Stack, family: Family, values: Fleet) -> None:
    service = names.family(stack.environment, family)
    stack.add(
        ScalableTarget(
            names.title(family, "tasks"),
            ServiceNamespace="ecs",
            ScalableDimension="ecs:service:DesiredCount",
            ResourceId=f"service/{names.cluster(stack.environment)}/{service}",
            MinCapacity=values.least,
            MaxCapacity=values.most,
            DependsOn=names.title(family, "service"),
        )
    )


def _policy(stack: Stack, family: Family, name: str, target: float, **metric: object) -> None:
    stack.add(
        ScalingPolicy(
            names.title(family, name, "scaling"),
            PolicyName=f"{names.family(stack.environment, family)}-{name.lower()}",
            PolicyType="TargetTrackingScaling",
            ScalingTargetId=Ref(names.title(family, "tasks")),
            TargetTrackingScalingPolicyConfiguration=TargetTrackingScalingPolicyConfiguration(
                TargetValue=target, ScaleOutCooldown=_OUT_SECONDS, ScaleInCooldown=_IN_SECONDS, **metric
            ),
        )
    )


def _series(identifier: str, series: Series) -> TargetTrackingMetricDataQuery:
    metric = TargetTrackingMetric(
        Namespace=series.namespace,
        MetricName=series.metric,
        Dimensions=[TargetTrackingMetricDimension(Name=name, Value=value) for name, value in series.dimensions.items()],
    )
    return TargetTrackingMetricDataQuery(
        Id=identifier, ReturnData=False, MetricStat=TargetTrackingMetricStat(Metric=metric, Stat=series.statistic)
    )
