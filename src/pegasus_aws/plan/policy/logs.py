"""What is written down, and for how long."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pegasus_aws.plan.policy.system import Found, System, containers, rule


@rule("log-retention", "Set RetentionInDays: CloudWatch keeps logs for ever.")
def _log_retention(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::Logs::LogGroup"):
        if not properties.get("RetentionInDays"):
            yield stack, name, "Its events never go."


@rule("log-group-there", "Make the log group in the stack observability: a task does not start without it.")
def _log_group_there(system: System) -> Iterator[Found]:
    there = {properties.get("LogGroupName") for _, _, properties in system.of("AWS::Logs::LogGroup")}
    for stack, name, container in containers(system):
        group = container.get("LogConfiguration", {}).get("Options", {}).get("awslogs-group")
        if group not in there:
            yield stack, name, f"Its log group {group} is not there."


@rule("flow-logs", "Log the network's connections.")
def _flow_logs(system: System) -> Iterator[Found]:
    logged = {json.dumps(properties["ResourceId"]) for _, _, properties in system.of("AWS::EC2::FlowLog")}
    for stack, name, _ in system.of("AWS::EC2::VPC"):
        if json.dumps({"Ref": name}) not in logged:
            yield stack, name, "Nobody could say who connected."
