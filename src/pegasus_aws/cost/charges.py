"""Rules from a resource to what is paid for it: one for each type that costs something.

A rule sees the resource, all templates beside it and what is assumed of their use. It says quantities and which row of
the price book is theirs; it knows no price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegasus_aws.usage import Usage

Json = Mapping[str, Any]

HOURS = 730.0  # A month, as AWS's own calculator has it.


@dataclass(frozen=True, slots=True)
class Charge:
    service: str
    what: str
    quantity: float
    item: str  # Of the price book.
    factor: str | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    stack: str
    name: str
    type: str
    properties: Json
    system: System

    @property
    def path(self) -> str:
        return f"{self.stack}/{self.name}"

    @property
    def usage(self) -> Usage:
        return self.system.usage


@dataclass(frozen=True, slots=True)
class System:
    """All templates of an environment by stack, and what is assumed of its use."""

    templates: Mapping[str, Json]
    usage: Usage

    def resources(self) -> Iterator[Resource]:
        for stack, template in self.templates.items():
            for name in template["Resources"]:
                yield self.named(stack, name)

    def of(self, kind: str) -> Sequence[Resource]:
        return [
            self.named(stack, name)
            for stack, template in self.templates.items()
            for name, found in template["Resources"].items()
            if found["Type"] == kind
        ]

    def named(self, stack: str, name: str) -> Resource:
        found = self.templates[stack]["Resources"][name]
        return Resource(stack, name, found["Type"], found.get("Properties", {}), self)

    def length(self, value: Any) -> int:
        """Of a list, however it is written: in place, or as another stack's output that is taken apart."""
        match value:
            case {"Fn::Split": [_, below]} | {"Fn::Join": [_, below]}:
                return self.length(below)
            case {"Fn::ImportValue": export}:
                return self.length(self._outputs()[export])
            case list():
                return len(value)
        raise TypeError(f"It is no list: {value!r}")

    def _outputs(self) -> Mapping[str, Any]:
        return {
            output["Export"]["Name"]: output["Value"]
            for template in self.templates.values()
            for output in template.get("Outputs", {}).values()
        }


Rule = Callable[[Resource], Iterator[Charge]]
RULES: dict[str, Rule] = {}


def priced(kind: str) -> Callable[[Rule], Rule]:
    """Register the rule of a type of resource."""

    def add(rule: Rule) -> Rule:
        RULES[kind] = rule
        return rule

    return add
