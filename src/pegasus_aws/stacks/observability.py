"""What is seen: log groups that end, metrics from logs, alarms, and whom they tell.

It comes before the services: a task that starts needs its log group, and a deployment watches only alarms that are
there. Services are named beforehand, so their alarms can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import floor
from typing import Any

from troposphere import Ref, Sub
from troposphere.logs import MetricFilter, MetricTransformation
from troposphere.sns import SubscriptionResource, Topic, TopicPolicy

from pegasus_aws import application, capacity, names
from pegasus_aws.constructs.alarms import Series, Watch, alarms, log_series, service_series
from pegasus_aws.constructs.iam import policy
from pegasus_aws.constructs.logs import log_group
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Environment

_BUSY_PERCENT = 80
_FEW_REQUESTS = 20  # In a minute; of fewer no share is taken.


def observability(environment: Environment) -> Stack:
    stack = Stack(environment, "observability", "logs, metrics, alarms")
    key = stack.take("data", "DataKey")
    for family in names.FAMILIES:
        log_group(stack, names.title(family, "logs"), family, key)
    _metrics(stack)
    topic = _topic(stack, key)
    alarms(stack, [*_edge(stack), *_tasks(stack), *_jobs(environment), *_stores(stack)], topic)
    return stack


def _metrics(stack: Stack) -> None:
    _metric(stack, "QueueWaiting", "scheduler", application.QUEUE_MEASURED, application.QUEUE_WAITING)
    _metric(stack, "QueueOldestSeconds", "scheduler", application.QUEUE_MEASURED, application.QUEUE_OLDEST)
    _metric(stack, "JobsDead", "celery-worker", application.JOB_DEAD, "1")


def _metric(stack: Stack, name: str, family: names.Family, pattern: str, value: str) -> None:
    stack.add(
        MetricFilter(
            f"{name}Metric",
            LogGroupName=Ref(names.title(family, "logs")),
            FilterPattern=pattern,
            MetricTransformations=[
                MetricTransformation(
                    MetricNamespace=names.metrics(stack.environment), MetricName=name, MetricValue=value
                )
            ],
        )
    )


def _topic(stack: Stack, key: Any) -> Ref:
    topic = stack.add(Topic("Alarms", TopicName=f"{names.cluster(stack.environment)}-alarms", KmsMasterKeyId=key))
    # It stays pending until somebody follows the link in the e-mail.
    stack.add(
        SubscriptionResource(
            "AlarmsByMail", TopicArn=Ref(topic), Protocol="email", Endpoint=stack.environment.alert_email
        )
    )
    account = {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}}
    stack.add(
        TopicPolicy(
            "AlarmsPolicy",
            Topics=[Ref(topic)],
            PolicyDocument=policy(
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudwatch.amazonaws.com"},
                    "Action": "sns:Publish",
                    "Resource": Ref(topic),
                    "Condition": account,
                },
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": Ref(topic),
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ),
        )
    )
    stack.give("Alarms", Ref(topic))
    return Ref(topic)


def _edge(stack: Stack) -> Iterator[Watch]:
    balancer = {"LoadBalancer": stack.take("platform", "BalancerName")}
    targets = {**balancer, "TargetGroup": stack.take("platform", "TargetsName")}

    def of(metric: str, statistic: str, where: dict[str, Any] = targets) -> Series:
        return Series("AWS/ApplicationELB", metric, statistic, where)

    yield Watch(
        "api-errors",
        "More than one request in a hundred was answered with 5xx. Look at the API's log for errors.",
        {
            "asked": of("RequestCount", "Sum", balancer),
            "ours": of("HTTPCode_Target_5XX_Count", "Sum"),
            "balancers": of("HTTPCode_ELB_5XX_Count", "Sum", balancer),
        },
        threshold=1,
        expression=f"IF(asked > {_FEW_REQUESTS}, 100 * (FILL(ours, 0) + FILL(balancers, 0)) / asked, 0)",
        minutes=3,
        of=2,
    )
    yield Watch(
        "api-latency",
        "One request in twenty waits longer than two seconds for an answer. Look how busy database and Chroma are.",
        {"slow": of("TargetResponseTime", "p95")},
        threshold=2,
    )
    yield Watch(
        "api-unhealthy",
        "The balancer takes a task of the API for sick. Look at its log and its end in ECS.",
        {"sick": of("UnHealthyHostCount", "Maximum")},
        threshold=0,
        minutes=3,
    )


def _tasks(stack: Stack) -> Iterator[Watch]:
    environment = stack.environment
    services: tuple[tuple[names.Alarm, names.Family, int], ...] = (
        ("api-tasks", "backend-api", environment.api.least),
        ("worker-tasks", "celery-worker", environment.worker.least),
        ("scheduler-tasks", "scheduler", 1),
        ("vectors-tasks", "chromadb", 1),
    )
    for name, family, least in services:
        yield Watch(
            name,
            f"Fewer tasks of {family} run than should. Look at why the last ones ended: ECS, service, stopped tasks.",
            {"running": service_series(stack.environment, family, "CPUUtilization", "SampleCount")},
            expression="FILL(running, 0)",
            threshold=least,
            above=False,
            minutes=10,
            missing="breaching",
        )
    yield Watch(
        "vectors-cpu",
        "Chroma is busy, and questions wait for it. Give it a larger task: vectors.cpu. It cannot be two.",
        {"busy": service_series(stack.environment, "chromadb", "CPUUtilization", "Average")},
        threshold=_BUSY_PERCENT,
        minutes=15,
    )


def _jobs(environment: Environment) -> Iterator[Watch]:
    yield Watch(
        "jobs-age",
        "A job has waited for a quarter of an hour. Look whether workers run, and at the broker.",
        {"oldest": log_series(environment, "QueueOldestSeconds", "Maximum")},
        threshold=900,
    )
    yield Watch(
        "jobs-dead",
        "More than five jobs were given up within five minutes. Look at: pegasus jobs list --state dead.",
        {"dead": log_series(environment, "JobsDead", "Sum")},
        threshold=5,
        minutes=1,
        period_seconds=300,
    )


def _stores(stack: Stack) -> Iterator[Watch]:
    database = {"DBInstanceIdentifier": stack.take("data", "Database")}
    values = stack.environment.database
    yield Watch(
        "database-storage",
        "A tenth of the disk is left, and it may not grow further. Raise database.storage_limit_gb.",
        {"free": Series("AWS/RDS", "FreeStorageSpace", "Minimum", database)},
        threshold=values.storage_gb * 2**30 / 10,
        above=False,
        minutes=3,
    )
    # Of a size that is not known here, what is wanted at most stands for what is there.
    there = capacity.connections_there(values.size) or capacity.connections_wanted(stack.environment)
    yield Watch(
        "database-connections",
        "Four fifths of PostgreSQL's connections are taken. Look who has them, or take a larger size.",
        {"open": Series("AWS/RDS", "DatabaseConnections", "Maximum", database)},
        threshold=floor(there * _BUSY_PERCENT / 100),
    )
    yield Watch(
        "database-cpu",
        "PostgreSQL has been busy for a quarter of an hour. Look at Performance Insights for what it does.",
        {"busy": Series("AWS/RDS", "CPUUtilization", "Average", database)},
        threshold=_BUSY_PERCENT,
        minutes=15,
    )
    yield _memory(stack, "broker-memory", "Broker", "001", "What is queued fills the broker, which then refuses more.")
    yield _memory(stack, "cache-memory", "Cache", "0001-001", "The cache is full, and forgets too soon.")


def _memory(stack: Stack, name: names.Alarm, group: str, node: str, why: str) -> Watch:
    """Of the first node; metrics of memory are a node's, and the others have the same."""
    # ElastiCache calls a node by its group and its number.
    identifier = Sub(f"${{Group}}-{node}", Group=stack.take("data", group))
    series = Series("AWS/ElastiCache", "DatabaseMemoryUsagePercentage", "Maximum", {"CacheClusterId": identifier})
    return Watch(name, f"{why} Take a larger size.", {"used": series}, threshold=_BUSY_PERCENT, minutes=10)
