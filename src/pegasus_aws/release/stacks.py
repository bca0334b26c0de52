"""Bringing one stack to what its template says, from whatever state it is found in, to an end that is truly told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pegasus.errors import Conflict, Invalid, TimedOut
from pegasus_aws import names
from pegasus_aws.clients.cloudformation import (
    LONGEST_BODY_BYTES,
    CloudFormation,
    Difference,
    Event,
    Proposal,
    Running,
)
from pegasus_aws.environments import Environment
from pegasus_aws.plan.difference import data_lost
from pegasus_aws.release import decisions
from pegasus_aws.release.failure import NotDeployed
from pegasus_aws.release.phases import DEADLINE_MINUTES

POLL_SECONDS = 3.0
# Wait, delete what failed, wait for that, create: whoever needs more goes round in circles.
_STEPS = 6


@dataclass(frozen=True, slots=True)
class Wanted:
    name: names.StackName
    body: str
    parameters: Mapping[str, str]
    protected: bool


class Stacks:
    def __init__(
        self,
        environment: Environment,
        cloudformation: CloudFormation,
        *,
        agree: Callable[[Proposal], bool],
        say: Callable[[str], None],
        keep: Callable[[], None],
        may_lose_data: bool = False,
    ) -> None:
        """``agree`` is shown every change before it is made; ``keep`` is called while waiting."""
        self._may_lose_data = may_lose_data
        self._environment, self._cloudformation = environment, cloudformation
        self._agree, self._say, self._keep = agree, say, keep

    def bring(self, wanted: Wanted) -> Running:
        """The stack, now as it is wanted. Raises ``NotDeployed`` with the cause, ``TimedOut``, ``Conflict``."""
        if len(wanted.body.encode()) > LONGEST_BODY_BYTES:
            raise Invalid(f"The template of {wanted.name} is longer than {LONGEST_BODY_BYTES} bytes.")
        for _ in range(_STEPS):
            there = self._described(wanted.name)
            step = decisions.next_step(there.status if there else None)
            if step == "create":
                return self._change(wanted, "CREATE")
            if there is None:
                continue
            if step == "update":
                return self._change(wanted, "UPDATE")
            if step == "refuse":
                break
            self._mend(wanted.name, there, step)
        raise Conflict(
            f"The stack {wanted.name} is {there.status if there else 'gone'}, which is not to be mended from here.",
            hint="Look at its events in the console, and delete it or what it could not delete.",
        )

    def _mend(self, name: names.StackName, there: Running, step: decisions.Step) -> None:
        """Bring a stack that somebody left in the middle to where it can be changed."""
        self._say(f"{name}: found as {there.status}")
        before = self._cloudformation.last_event(there.id)
        if step == "delete":
            if there.protected:
                self._cloudformation.protect(there.id, protected=False)
            self._cloudformation.delete(there.id)
        elif step == "continue":
            self._cloudformation.continue_rollback(there.id)
        ended, happened = self._follow(name, there.id, before, begun=step == "wait")
        if ended.status in ("UPDATE_ROLLBACK_FAILED", "DELETE_FAILED"):
            raise _failed(name, ended, happened)

    def _change(self, wanted: Wanted, kind: Literal["CREATE", "UPDATE"]) -> Running:
        name = self._full(wanted.name)
        tags = names.tags(self._environment)
        proposal = self._cloudformation.propose(name, kind, wanted.body, wanted.parameters, tags)
        if proposal.refusal:
            raise Invalid(
                f"{wanted.name}: CloudFormation does not take the template: {proposal.refusal}",
                hint="Mend what it names, and plan again: pegasus aws plan",
            )
        if proposal.name is None:
            self._say(f"{wanted.name}: no change")
        else:
            self._carry_out(wanted.name, proposal)
        there = self._described(wanted.name)
        if there is None:
            raise Conflict(f"The stack {wanted.name} was deleted by somebody else.")
        if there.protected != wanted.protected:
            self._cloudformation.protect(name, protected=wanted.protected)
        return there

    def _carry_out(self, stack: names.StackName, proposal: Proposal) -> None:
        lost = [] if self._may_lose_data else data_lost([Difference(stack, "", proposal.changes)])
        if lost or not self._agree(proposal):
            self._cloudformation.drop(proposal)
            if lost:
                raise Conflict(f"{stack}/{lost[0].resource}: {lost[0].message}", hint=lost[0].hint)
            raise Conflict(f"The change of {stack} was not agreed to; nothing of it was made.")
        there = self._described(stack)
        if there is None:
            raise Conflict(f"The stack {stack} was deleted by somebody else.")
        before = self._cloudformation.last_event(there.id)
        self._cloudformation.carry_out(proposal)
        ended, happened = self._follow(stack, there.id, before)
        if not decisions.succeeded(ended.status):
            raise _failed(stack, ended, happened)
        self._say(f"{stack}: {ended.status}")

    def remove(self, stack: names.StackName) -> bool:
        """Whether there was one. What its template retains stays."""
        there = self._described(stack)
        if there is None:
            return False
        if decisions.next_step(there.status) == "wait":
            self._follow(stack, there.id, self._cloudformation.last_event(there.id), begun=True)
        before = self._cloudformation.last_event(there.id)
        if there.protected:
            self._cloudformation.protect(there.id, protected=False)
        self._cloudformation.delete(there.id)
        ended, happened = self._follow(stack, there.id, before)
        if ended.status != "DELETE_COMPLETE":
            raise _failed(stack, ended, happened)
        self._say(f"{stack}: deleted")
        return True

    def _follow(
        self, stack: names.StackName, stack_id: str, after: str | None, *, begun: bool = False
    ) -> tuple[Running, list[Event]]:
        """Tell what happens until it ends. By id, for a stack that is deleted has no name any more.

        For a moment a stack may still be told as it was before the change that was just asked for: unless that has
        ``begun`` as one knows, nothing has ended before an event of the stack's own was seen.
        """
        deadline = time.monotonic() + DEADLINE_MINUTES[stack] * 60
        happened: list[Event] = []
        while True:
            # Before its events: what led to the state that is read then is told.
            there = self._cloudformation.describe(stack_id)
            for event in self._cloudformation.events(stack_id, after):
                happened.append(event)
                after = event.id
                begun |= event.physical_id == stack_id
                self._tell(stack, event)
            if there is None:
                raise Conflict(f"The stack {stack} was deleted by somebody else.")
            if begun and decisions.ended(there.status):
                return there, happened
            if time.monotonic() > deadline:
                raise _too_late(stack, there, happened)
            self._keep()
            time.sleep(POLL_SECONDS)

    def _tell(self, stack: names.StackName, event: Event) -> None:
        reason = f": {event.reason}" if event.reason and "FAILED" in event.status else ""
        self._say(f"{stack}/{event.resource} {event.status}{reason}")

    def _described(self, stack: names.StackName) -> Running | None:
        return self._cloudformation.describe(self._full(stack))

    def _full(self, stack: names.StackName) -> str:
        return names.stack(self._environment, stack)


def _failed(stack: names.StackName, ended: Running, happened: list[Event]) -> NotDeployed:
    why = decisions.cause(happened)
    said = f"{stack}/{why.resource}: {why.reason or why.status}" if why else f"{stack}: {ended.reason or 'no reason'}"
    return NotDeployed(f"{said} ({ended.status})", hint="Mend that and run it again: it goes on from where it is now.")


def _too_late(stack: names.StackName, there: Running, happened: list[Event]) -> TimedOut:
    latest = {one.resource: one.status for one in happened}
    waits = [name for name, status in latest.items() if status.endswith("_IN_PROGRESS")]
    return TimedOut(
        f"{stack} is still {there.status} after {DEADLINE_MINUTES[stack]} minutes, waiting for {', '.join(waits[:5])}.",
        hint="CloudFormation goes on by itself; run it again to see it through.",
    )
