"""Roles and what they may: each statement names its actions, and its resources as narrowly as AWS lets one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from troposphere import Ref, Sub
from troposphere.iam import Policy, Role

Statement = Mapping[str, Any]


def allow(
    actions: str | Sequence[str], resources: Any, condition: Mapping[str, Any] | None = None, sid: str | None = None
) -> Statement:
    """A statement of a role: actions separated by spaces, on one resource or several."""
    return {
        **({"Sid": sid} if sid else {}),
        "Effect": "Allow",
        "Action": actions.split() if isinstance(actions, str) else list(actions),
        "Resource": resources,
        **({"Condition": condition} if condition else {}),
    }


def policy(*statements: Statement) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def role(
    name: str,
    service: str,
    *statements: Statement,
    managed: Sequence[Any] = (),
    metadata: Mapping[str, Any] | None = None,
    **assumed: Mapping[str, Any],
) -> Role:
    """A role that one service of AWS takes on, only for resources of this account."""
    # Without this another account's resource could make the service act for it (the confused deputy).
    condition = assumed.get("condition", {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}})
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return Role(
        name,
        AssumeRolePolicyDocument=policy({**trust, **({"Condition": condition} if condition else {})}),
        **({"Policies": [Policy(PolicyName="own", PolicyDocument=policy(*statements))]} if statements else {}),
        **({"ManagedPolicyArns": list(managed)} if managed else {}),
        **({"Metadata": metadata} if metadata else {}),
    )


def arn(text: str) -> Sub:
    """An ARN of this account and region: ``arn("logs", ...)`` would hide more than it says, so it is written out."""
    return Sub(f"arn:${{AWS::Partition}}:{text}")
