"""Who may do what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pegasus_aws.plan.policy.system import Found, System, listed, rule, statements


@rule("wildcard-action", "Name each action, or say why with because(wildcard_action=...).")
def _wildcard_action(system: System) -> Iterator[Found]:
    for stack, name, statement in statements(system):
        # ReEncrypt* and GenerateDataKey* are pairs, which AWS writes so itself.
        for action in listed(statement.get("Action")):
            if action == "*" or action.endswith(":*"):
                yield stack, name, f"It allows {action}."
        if "NotAction" in statement:
            yield stack, name, "It allows all actions but some (NotAction)."


@rule("wildcard-resource", "Name what it is about by ARN, or say why with because(wildcard_resource=...).")
def _wildcard_resource(system: System) -> Iterator[Found]:
    for stack, name, statement in statements(system):
        if "*" in listed(statement.get("Resource")) or "NotResource" in statement:
            yield stack, name, f"It allows {', '.join(listed(statement.get('Action')))} on every resource."


@rule("wildcard-principal", "Name the role, account or service that may.")
def _wildcard_principal(system: System) -> Iterator[Found]:
    for stack, name, statement in statements(system):
        principal = statement.get("Principal")
        given = principal.get("AWS") if isinstance(principal, Mapping) else principal
        if "*" in listed(given) or "NotPrincipal" in statement:
            yield stack, name, "It allows anybody."


@rule("trust", "Bind a service's trust to this account: condition aws:SourceAccount.")
def _trust(system: System) -> Iterator[Found]:
    for stack, name, properties in system.of("AWS::IAM::Role"):
        for statement in listed(properties["AssumeRolePolicyDocument"]["Statement"]):
            service = statement.get("Principal", {}).get("Service")
            # EC2 hands its roles to instances of the account only, and sends no such condition.
            if service != "ec2.amazonaws.com" and "aws:SourceAccount" not in json.dumps(statement.get("Condition", {})):
                yield stack, name, f"{service} may take it on for any account (the confused deputy)."


@rule("administrator", "Give a role statements of its own; of AWS's policies only those for one service's own work.")
def _administrator(system: System) -> Iterator[Found]:
    allowed = ("service-role/", "AmazonSSMManagedInstanceCore")
    for stack, name, properties in system.of("AWS::IAM::Role"):
        for policy in properties.get("ManagedPolicyArns", []):
            if not any(part in json.dumps(policy) for part in allowed):
                yield stack, name, f"It has the policy {json.dumps(policy)}."


@rule("pass-role", "Say to which service a role may be handed: condition iam:PassedToService.")
def _pass_role(system: System) -> Iterator[Found]:
    for stack, name, statement in statements(system):
        if "iam:PassRole" in listed(statement.get("Action")) and "iam:PassedToService" not in json.dumps(statement):
            yield stack, name, "It may hand roles to any service."


@rule("users", "Use roles: GitHub by OIDC, people by IAM Identity Center, tasks by task roles.")
def _users(system: System) -> Iterator[Found]:
    for stack, name, _ in system.of("AWS::IAM::User", "AWS::IAM::AccessKey"):
        yield stack, name, "A user or key that never expires."


@rule("role-per-task", "Give each family a task role and an execution role that no other has.")
def _role_per_task(system: System) -> Iterator[Found]:
    taken: dict[str, str] = {}
    for stack, name, properties in system.of("AWS::ECS::TaskDefinition"):
        for kind in ("TaskRoleArn", "ExecutionRoleArn"):
            role = json.dumps(properties.get(kind))
            if role in ("null", *taken):
                yield stack, name, f"Its {kind} is {'missing' if role == 'null' else 'also that of ' + taken[role]}."
            taken[role] = name
