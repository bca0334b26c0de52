"""Our own rules: what cfn-lint cannot know and checkov does not ask. Each says how to mend what it finds.

A rule is a function over all templates at once. An exception is written at the resource, with because(), and shown with
the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegasus_aws.environments import Environment
from pegasus_aws.plan.findings import Finding

Json = Mapping[str, Any]
Found = tuple[str, str, str]  # stack, resource, what is wrong


@dataclass(frozen=True, slots=True)
class System:
    """All templates of an environment, as CloudFormation would read them."""

    environment: Environment
    templates: Mapping[str, Json]

    def of(self, *types: str) -> Iterator[tuple[str, str, Json]]:
        """(stack, logical id, properties) of every resource of these types."""
        for stack, name, resource in self.resources():
            if resource["Type"] in types:
                yield stack, name, resource.get("Properties", {})

    def resources(self) -> Iterator[tuple[str, str, Json]]:
        for stack, template in self.templates.items():
            for name, resource in template["Resources"].items():
                yield stack, name, resource

    def reason(self, stack: str, resource: str, rule: str) -> str | None:
        """Why a resource departs from a rule, when it says so."""
        found = self.templates[stack]["Resources"][resource].get("Metadata", {}).get("pegasus", {}).get(rule)
        return str(found) if found else None


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    hint: str
    check: Callable[[System], Iterator[Found]]


_RULES: list[Rule] = []


def rule(name: str, hint: str) -> Callable[[Callable[[System], Iterator[Found]]], Callable[[System], Iterator[Found]]]:
    def add(check: Callable[[System], Iterator[Found]]) -> Callable[[System], Iterator[Found]]:
        _RULES.append(Rule(name, hint, check))
        return check

    return add


def check_policy(system: System) -> list[Finding]:
    return [
        Finding("policy", one.name, stack, resource, message, one.hint)
        for one in _RULES
        for stack, resource, message in one.check(system)
        if resource == "template" or not system.reason(stack, resource, one.name)
    ]


def rules() -> tuple[Rule, ...]:
    return tuple(_RULES)


def statements(system: System) -> Iterator[tuple[str, str, Json]]:
    for stack, name, resource in system.resources():
        for statement in found(resource.get("Properties", {}), "Statement"):
            for one in statement if isinstance(statement, list) else [statement]:
                if isinstance(one, Mapping) and one.get("Effect") == "Allow":
                    yield stack, name, one


def found(value: Any, key: str) -> Iterator[Any]:
    """Each value of a key, however deep."""
    if isinstance(value, Mapping):
        for name, below in value.items():
            if name == key:
                yield below
            yield from found(below, key)
    elif isinstance(value, list):
        for below in value:
            yield from found(below, key)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from texts(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for below in value:
            yield from texts(below, path)


def containers(system: System) -> Iterator[tuple[str, str, Json]]:
    for stack, name, properties in system.of("AWS::ECS::TaskDefinition"):
        for container in properties["ContainerDefinitions"]:
            yield stack, name, container
    for stack, name, properties in system.of("AWS::Batch::JobDefinition"):
        yield stack, name, properties["ContainerProperties"]


def exceptions(system: System) -> Sequence[Mapping[str, str]]:
    """Everything that departs from a rule, with the reason that stands at it."""
    return [
        {"stack": stack, "resource": name, "rule": rule_, "reason": reason}
        for stack, name, resource in system.resources()
        for rule_, reason in resource.get("Metadata", {}).get("pegasus", {}).items()
    ]
