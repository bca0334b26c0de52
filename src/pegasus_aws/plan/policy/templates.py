"""What CloudFormation takes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pegasus_aws import names
from pegasus_aws.plan.policy.system import Found, System, found, rule

_MAX_BYTES, _MAX_RESOURCES = 1_000_000, 500


@rule("size", "Cut the stack in two by lifetime.")
def _size(system: System) -> Iterator[Found]:
    for stack, template in system.templates.items():
        length, number = len(json.dumps(template, separators=(",", ":"))), len(template["Resources"])
        if length > _MAX_BYTES or number > _MAX_RESOURCES:
            yield (
                stack,
                "template",
                f"{length} bytes and {number} resources; {_MAX_BYTES} and {_MAX_RESOURCES} are allowed.",
            )


@rule("imports", "Give the value in a stack that is built before.")
def _imports(system: System) -> Iterator[Found]:
    given: set[str] = set()
    for stack in names.STACKS:
        template = system.templates.get(stack)
        if template is None:
            continue
        for imported in set(found(template, "Fn::ImportValue")):
            if imported not in given:
                yield stack, "template", f"It takes {imported}, which nobody before it gives."
        given |= {output["Export"]["Name"] for output in template.get("Outputs", {}).values() if "Export" in output}
