"""What happens by the clock: sources are looked at, and tasks are exchanged for ones that read their secrets anew."""

from __future__ import annotations

import json
from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.scheduler import (
    AwsVpcConfiguration,
    EcsParameters,
    FlexibleTimeWindow,
    NetworkConfiguration,
    RetryPolicy,
    Schedule,
    ScheduleGroup,
    Target,
)

from pegasus_aws import names
from pegasus_aws.constructs.fleet import network
from pegasus_aws.constructs.iam import allow, arn, role
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.names import Family

# Passwords change every 30 days, and the last one is valid for as long again: no task of a week is ever locked out.
_REFRESH = "cron(0 6 ? * MON *)"
_REFRESHED: tuple[Family, ...] = ("backend-api", "celery-worker", "scheduler")


def schedules(stack: Stack, key: Any) -> None:
    stack.add(ScheduleGroup("Schedules", Name=names.cluster(stack.environment)))
    _pipeline(stack, key)
    _refresh(stack, key)


def _pipeline(stack: Stack, key: Any) -> None:
    family: Family = "data-pipeline"
    task = Ref(names.title(family, "task"))
    roles = [stack.take("platform", names.title(family, kind, "role")) for kind in ("execution", "task")]
    starter = role(
        "PipelineScheduleRole",
        "scheduler.amazonaws.com",
        allow("ecs:RunTask", task, {"ArnEquals": {"ecs:cluster": stack.take("platform", "ClusterArn")}}),
        allow("iam:PassRole", roles, {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}),
        _decrypt(key),
    )
    stack.add(starter)
    where = {name: value for name, value in network(stack, family).items() if name != "Subnets"}
    parameters = EcsParameters(
        TaskDefinitionArn=task,
        LaunchType="FARGATE",
        TaskCount=1,
        NetworkConfiguration=NetworkConfiguration(
            AwsvpcConfiguration=AwsVpcConfiguration(Subnets=network(stack, family)["Subnets"], **where)
        ),
    )
    target = Target(
        Arn=stack.take("platform", "ClusterArn"),
        RoleArn=GetAtt(starter, "Arn"),
        EcsParameters=parameters,
        RetryPolicy=RetryPolicy(MaximumRetryAttempts=3, MaximumEventAgeInSeconds=900),
    )
    _schedule(stack, "PipelineSchedule", "pipeline", stack.environment.pipeline.schedule, target, key)


def _refresh(stack: Stack, key: Any) -> None:
    services = [
        arn(
            f"ecs:${{AWS::Region}}:${{AWS::AccountId}}:service/{names.cluster(stack.environment)}/"
            f"{names.family(stack.environment, family)}"
        )
        for family in _REFRESHED
    ]
    refresher = role("RefreshRole", "scheduler.amazonaws.com", allow("ecs:UpdateService", services), _decrypt(key))
    stack.add(refresher)
    for family in _REFRESHED:
        request = {
            "Cluster": names.cluster(stack.environment),
            "Service": names.family(stack.environment, family),
            "ForceNewDeployment": True,
        }
        target = Target(
            Arn=Sub("arn:${AWS::Partition}:scheduler:::aws-sdk:ecs:updateService"),
            RoleArn=GetAtt(refresher, "Arn"),
            Input=json.dumps(request),
            RetryPolicy=RetryPolicy(MaximumRetryAttempts=3, MaximumEventAgeInSeconds=3600),
        )
        _schedule(stack, names.title(family, "refresh"), f"{family}-refresh", _REFRESH, target, key)


def _decrypt(key: Any) -> Any:
    return allow(
        "kms:Decrypt", key, {"StringEquals": {"kms:ViaService": Sub("scheduler.${AWS::Region}.amazonaws.com")}}
    )


def _schedule(stack: Stack, title: str, name: str, when: str, target: Target, key: Any) -> None:
    stack.add(
        Schedule(
            title,
            Name=f"{names.cluster(stack.environment)}-{name}",
            GroupName=Ref("Schedules"),
            ScheduleExpression=when,
            FlexibleTimeWindow=FlexibleTimeWindow(Mode="FLEXIBLE", MaximumWindowInMinutes=5),
            KmsKeyArn=key,
            Target=target,
        )
    )
