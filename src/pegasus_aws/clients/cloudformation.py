"""CloudFormation: what runs, what a template would change of it, and the change itself."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from pegasus.errors import Unavailable
from pegasus_aws.clients.connection import answers, connect

# A template that is longer has to be put into a bucket first.
LONGEST_BODY_BYTES = 51_200
_WAIT_SECONDS, _POLL_SECONDS = 120.0, 1.0
_CAPABILITIES = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
_SAME = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True, slots=True)
class Change:
    action: str  # Add, Modify, Remove, Import, Dynamic
    resource: str
    type: str
    replacement: str  # True, False, Conditional, or nothing where nothing is replaced


@dataclass(frozen=True, slots=True)
class Difference:
    stack: str
    status: str | None  # Of the stack that runs; None where there is none.
    changes: tuple[Change, ...]
    refusal: str = ""  # Why CloudFormation does not take the template; nothing where it does.


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that is there."""

    id: str
    status: str
    reason: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    protected: bool


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change set that is ready to be carried out; without a name there is nothing to carry out."""

    stack: str
    name: str | None
    changes: tuple[Change, ...]
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    resource: str
    type: str
    status: str
    reason: str
    physical_id: str


def has_credentials() -> bool:
    """Whether boto3 would find any: in the environment, a profile, or the machine's role."""
    return Session().get_credentials() is not None


class CloudFormation:
    def __init__(self, region: str) -> None:
        self._client = connect("cloudformation", region)

    def difference(self, stack: str, body: str, tags: Mapping[str, str]) -> Difference:
        """By a change set that is made, read and deleted; nothing is carried out. Raises ``Unavailable``."""
        try:
            there = self._described(stack)
            # What was never built, and what failed in its first minutes, has nothing to be compared with.
            if there is None or there["StackStatus"] in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"):
                return Difference(stack, there and there["StackStatus"], ())
            kept = [{"ParameterKey": one["ParameterKey"], "UsePreviousValue": True} for one in _parameters(there)]
            which = {"StackName": stack, "ChangeSetName": f"plan-{uuid4()}"}
            self._create(which, "UPDATE", body, kept, tags)
            try:
                proposal = self._read(which)
            finally:
                self._client.delete_change_set(**which)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"CloudFormation gave no answer about {stack}: {error}") from error
        return Difference(stack, there["StackStatus"], proposal.changes, proposal.refusal)

    def describe(self, stack: str) -> Running | None:
        """By name what is there, by id also what is deleted."""
        with answers(f"the stack {stack}"):
            there = self._described(stack)
        return there and Running(
            id=there["StackId"],
            status=there["StackStatus"],
            reason=there.get("StackStatusReason", ""),
            parameters={one["ParameterKey"]: one.get("ParameterValue", "") for one in _parameters(there)},
            outputs={one["OutputKey"]: one["OutputValue"] for one in there.get("Outputs", [])},
            protected=there.get("EnableTerminationProtection", False),
        )

    def propose(
        self,
        stack: str,
        kind: Literal["CREATE", "UPDATE"],
        body: str,
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> Proposal:
        """A change set that stays, to be carried out or dropped."""
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        which = {"StackName": stack, "ChangeSetName": f"apply-{uuid4()}"}
        with answers(f"the change of {stack}"):
            self._create(which, kind, body, given, tags)
            proposal = self._read(which)
            if proposal.name is None:
                self._client.delete_change_set(**which)
        return proposal

    def carry_out(self, proposal: Proposal) -> None:
        with answers(f"the change of {proposal.stack}"):
            self._client.execute_change_set(StackName=proposal.stack, ChangeSetName=proposal.name)

    def drop(self, proposal: Proposal) -> None:
        """What was not wanted, and the empty stack that stood for it where there was none before."""
        with answers(f"the change of {proposal.stack}"):
            self._client.delete_change_set(StackName=proposal.stack, ChangeSetName=proposal.name)
            there = self._described(proposal.stack)
            if there and there["StackStatus"] == "REVIEW_IN_PROGRESS":
                self._client.delete_stack(StackName=proposal.stack)

    def delete(self, stack_id: str) -> None:
        with answers(f"the deletion of {stack_id}"):
            self._client.delete_stack(StackName=stack_id)

    def continue_rollback(self, stack_id: str) -> None:
        with answers(f"the rollback of {stack_id}"):
            self._client.continue_update_rollback(StackName=stack_id)

    def protect(self, stack: str, *, protected: bool) -> None:
        with answers(f"the protection of {stack}"):
            self._client.update_termination_protection(StackName=stack, EnableTerminationProtection=protected)

    def template(self, stack: str) -> str:
        """As it was given, byte by byte."""
        with answers(f"the template of {stack}"):
            body = self._client.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
        return body if isinstance(body, str) else _json(body)

    def buckets(self, stack: str) -> Sequence[str]:
        """The names of those that are in it."""
        with answers(f"the resources of {stack}"):
            pages = self._client.get_paginator("list_stack_resources").paginate(StackName=stack)
            found = [one for page in pages for one in page["StackResourceSummaries"]]
        return [
            one["PhysicalResourceId"]
            for one in found
            if one["ResourceType"] == "AWS::S3::Bucket" and one["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    def events(self, stack_id: str, after: str | None) -> Sequence[Event]:
        """Those after the one of this id, the oldest first."""
        found: list[Event] = []
        with answers(f"the events of {stack_id}"):
            for page in self._client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
                for one in page["StackEvents"]:
                    if one["EventId"] == after:
                        return found[::-1]
                    found.append(_event(one))
        return found[::-1]

    def last_event(self, stack_id: str) -> str | None:
        with answers(f"the events of {stack_id}"):
            newest = self._client.describe_stack_events(StackName=stack_id)["StackEvents"]
        return newest[0]["EventId"] if newest else None

    def _described(self, stack: str) -> Any:
        try:
            return self._client.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def _create(
        self,
        which: Mapping[str, str],
        kind: str,
        body: str,
        parameters: Sequence[Mapping[str, Any]],
        tags: Mapping[str, str],
    ) -> None:
        self._client.create_change_set(
            **which,
            ChangeSetType=kind,
            TemplateBody=body,
            Parameters=parameters,
            Capabilities=_CAPABILITIES,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )

    def _read(self, which: Mapping[str, str]) -> Proposal:
        deadline = time.monotonic() + _WAIT_SECONDS
        while (page := self._client.describe_change_set(**which))["Status"] not in ("CREATE_COMPLETE", "FAILED"):
            if time.monotonic() > deadline:
                raise Unavailable(f"The change set of {which['StackName']} was not ready within {_WAIT_SECONDS:.0f} s.")
            time.sleep(_POLL_SECONDS)
        if page["Status"] == "FAILED":
            reason = page.get("StatusReason", "")
            same = any(words in reason for words in _SAME)
            return Proposal(which["StackName"], None, (), "" if same else reason or "It gives no reason.")
        found = list(page.get("Changes", []))
        while token := page.get("NextToken"):
            page = self._client.describe_change_set(**which, NextToken=token)
            found += page.get("Changes", [])
        changes = tuple(_change(one["ResourceChange"]) for one in found if one.get("Type") == "Resource")
        return Proposal(which["StackName"], which["ChangeSetName"], changes)


def _parameters(there: Any) -> Sequence[Any]:
    return there.get("Parameters") or ()


def _change(one: Any) -> Change:
    return Change(one["Action"], one["LogicalResourceId"], one["ResourceType"], one.get("Replacement", ""))


def _event(one: Any) -> Event:
    return Event(
        id=one["EventId"],
        resource=one["LogicalResourceId"],
        type=one.get("ResourceType", ""),
        status=one["ResourceStatus"],
        reason=one.get("ResourceStatusReason", ""),
        physical_id=one.get("PhysicalResourceId", ""),
    )


def _json(body: Any) -> str:
    """boto3 reads a template of JSON, keeping the order in which it stands."""
    return json.dumps(body, separators=(",", ":"))
