"""A template in the making, and the threads between templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from troposphere import AWSObject, Export, ImportValue, Output, Template

from pegasus_aws import names
from pegasus_aws.environments import Environment

Resource = TypeVar("Resource", bound=AWSObject)


@dataclass(frozen=True, slots=True)
class Stack:
    environment: Environment
    name: names.StackName
    description: str
    template: Template = field(default_factory=Template)
    taken: list[str] = field(default_factory=list)  # The exports of other stacks that this one uses.

    def __post_init__(self) -> None:
        self.template.set_version("2010-09-09")
        self.template.set_description(f"Pegasus {self.environment.name}, {self.name}: {self.description}")

    def add(self, resource: Resource) -> Resource:
        self.template.add_resource(resource)
        return resource

    def give(self, output: str, value: Any) -> None:
        """Let later stacks use a value. It cannot be changed or taken away while one does."""
        name = names.export(self.environment, self.name, output)
        self.template.add_output(Output(output, Value=value, Export=Export(name)))

    def take(self, stack: names.StackName, output: str) -> ImportValue:
        name = names.export(self.environment, stack, output)
        if name not in self.taken:
            self.taken.append(name)
        return ImportValue(name)

    def body(self) -> str:
        return json.dumps(self.template.to_dict(), separators=(",", ":"))


def because(**reasons: str) -> Mapping[str, Any]:
    """Metadata that says why a resource departs from a rule: of cfn-lint, of checkov or of our own.

    The name of the rule stands with the reason, as in ``because(CKV_AWS_158="...")``; dashes are underscores.
    """
    lint = sorted(rule for rule in reasons if rule[0] in "WEI" and rule[1:].isdigit())
    checkov = {rule: reason for rule, reason in reasons.items() if rule.startswith("CKV")}
    ours = {name.replace("_", "-") if name[0].islower() else name: reason for name, reason in reasons.items()}
    metadata: dict[str, Any] = {"pegasus": ours}
    if lint:
        metadata["cfn-lint"] = {"config": {"ignore_checks": lint}}
    if checkov:
        metadata["checkov"] = {"skip": [{"id": rule, "comment": reason} for rule, reason in checkov.items()]}
    return metadata
