"""In which order stacks are changed, and how long each may take.

Forwards it is the order in which they are built. Backwards it need not be: what an older version has not, nobody may
use any more when it goes. So the order follows from what each takes of the others, now and then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pegasus.errors import Conflict
from pegasus_aws import names
from pegasus_aws.names import StackName
from pegasus_aws.plan.policy.system import found

# A standby of RDS and a cluster of Neptune take half an hour each; the others are many small things.
DEADLINE_MINUTES: Mapping[StackName, int] = {
    "network": 20, "data": 90, "platform": 60, "observability": 15, "migration": 10, "services": 60,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Threads:
    """The exports of a template that others may take, and those that it takes."""

    gives: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()


def threads(body: str) -> Threads:
    template = json.loads(body)
    outputs = template.get("Outputs", {}).values()
    gives = frozenset(one["Export"]["Name"] for one in outputs if "Export" in one)
    return Threads(gives, frozenset(found(template, "Fn::ImportValue")))


def ordered(now: Mapping[StackName, Threads], then: Mapping[StackName, Threads]) -> Sequence[StackName]:
    """The stacks of ``then`` so that every change finds what it takes, and takes nothing away that is still taken.

    Raises ``Conflict`` where two have to wait for each other: then no order serves, but two steps do.
    """
    waits = {stack: _waits_for(stack, now, then) for stack in then}
    order: list[StackName] = []
    while waiting := [stack for stack in names.STACKS if stack in then and stack not in order]:
        ready = [stack for stack in waiting if not waits[stack] - set(order)]
        if not ready:
            raise Conflict(
                f"The stacks {', '.join(waiting)} wait for each other: each takes what another gives only after it.",
                hint="Make the change in two: first give the new, then, when nobody takes it any more, drop the old.",
            )
        order.append(ready[0])
    return order


def _waits_for(stack: StackName, now: Mapping[StackName, Threads], then: Mapping[StackName, Threads]) -> set[StackName]:
    nothing = Threads()
    here, there = now.get(stack, nothing), then[stack]
    waits: set[StackName] = set()
    for other in then:
        if other == stack:
            continue
        given = then[other].gives - now.get(other, nothing).gives
        dropped = here.gives - there.gives
        if there.takes & given or dropped & now.get(other, nothing).takes:
            waits.add(other)
    # What needs the new schema comes after the task that makes it.
    if stack == "services" and "migration" in then:
        waits.add("migration")
    return waits
