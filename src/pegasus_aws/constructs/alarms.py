"""Alarms as a table: what is watched, from which number on, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from troposphere.cloudwatch import Alarm, Metric, MetricDataQuery, MetricDimension, MetricStat

from pegasus_aws import names
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Environment

Missing = Literal["notBreaching", "breaching", "ignore", "missing"]


@dataclass(frozen=True, slots=True)
class Series:
    """One metric, a value a period."""

    namespace: str
    metric: str
    statistic: str
    dimensions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Watch:
    name: names.Alarm
    why: str  # What it means for people, and where to look first.
    series: Mapping[str, Series]
    threshold: float
    expression: str | None = None  # Of the series' names; without one there is one series.
    above: bool = True
    minutes: int = 5  # Of so many in a row,
    of: int | None = None  # so many have to be bad; all, if it is not said.
    period_seconds: int = 60
    missing: Missing = "notBreaching"  # Before the first release nothing is measured.


def alarms(stack: Stack, watches: Sequence[Watch], topic: Any) -> None:
    for watch in watches:
        stack.add(
            Alarm(
                names.title(watch.name, "alarm"),
                AlarmName=names.alarm(stack.environment, watch.name),
                AlarmDescription=watch.why,
                ComparisonOperator="GreaterThanThreshold" if watch.above else "LessThanThreshold",
                Threshold=watch.threshold,
                EvaluationPeriods=watch.minutes,
                DatapointsToAlarm=watch.of or watch.minutes,
                TreatMissingData=watch.missing,
                AlarmActions=[topic],
                OKActions=[topic],
                Metrics=_queries(watch),
            )
        )


def _queries(watch: Watch) -> list[MetricDataQuery]:
    queries = [
        MetricDataQuery(
            Id=identifier,
            ReturnData=watch.expression is None,
            MetricStat=MetricStat(Stat=one.statistic, Period=watch.period_seconds, Metric=metric(one)),
        )
        for identifier, one in watch.series.items()
    ]
    if watch.expression:
        queries.append(MetricDataQuery(Id="watched", Expression=watch.expression, ReturnData=True))
    return queries


def metric(series: Series) -> Metric:
    return Metric(
        Namespace=series.namespace,
        MetricName=series.metric,
        Dimensions=[MetricDimension(Name=name, Value=value) for name, value in series.dimensions.items()],
    )


def log_series(environment: Environment, name: str, statistic: str) -> Series:
    """Of what a metric filter counts."""
    return Series(names.metrics(environment), name, statistic)


def service_series(environment: Environment, family: names.Family, name: str, statistic: str) -> Series:
    """CPUUtilization or MemoryUtilization of a service. How many values of it there were is how many tasks ran."""
    where = {"ClusterName": names.cluster(environment), "ServiceName": names.family(environment, family)}
    return Series("AWS/ECS", name, statistic, where)
