"""CloudFormation: what a template would change of a stack that runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from pegasus.errors import Unavailable

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


def has_credentials() -> bool:
    """Whether boto3 would find any: in the environment, a profile, or the machine's role."""
    return Session().get_credentials() is not None


class CloudFormation:
    def __init__(self, region: str) -> None:
        patience = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})
        self._client = boto3.client("cloudformation", region_name=region, config=patience)

    def difference(self, stack: str, body: str, tags: Mapping[str, str]) -> Difference:
        """By a change set that is made, read and deleted; nothing is carried out. Raises ``Unavailable``."""
        try:
            there = self._described(stack)
            # What was never built, and what failed in its first minutes, has nothing to be compared with.
            if there is None or there["StackStatus"] in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"):
                return Difference(stack, there and there["StackStatus"], ())
            return self._compared(there, body, tags)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable(f"CloudFormation gave no answer about {stack}: {error}") from error

    def _described(self, stack: str) -> Any:
        try:
            return self._client.describe_stacks(StackName=stack)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def _compared(self, there: Any, body: str, tags: Mapping[str, str]) -> Difference:
        kept = [{"ParameterKey": one["ParameterKey"], "UsePreviousValue": True} for one in there.get("Parameters", [])]
        which = {"StackName": there["StackName"], "ChangeSetName": f"plan-{uuid4()}"}
        self._client.create_change_set(
            **which,
            ChangeSetType="UPDATE",
            TemplateBody=body,
            Parameters=kept,
            Capabilities=_CAPABILITIES,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        try:
            changes, refusal = self._read(which)
            return Difference(there["StackName"], there["StackStatus"], changes, refusal)
        finally:
            self._client.delete_change_set(**which)

    def _read(self, which: Mapping[str, str]) -> tuple[tuple[Change, ...], str]:
        deadline = time.monotonic() + _WAIT_SECONDS
        while (page := self._client.describe_change_set(**which))["Status"] not in ("CREATE_COMPLETE", "FAILED"):
            if time.monotonic() > deadline:
                raise Unavailable(f"The change set of {which['StackName']} was not ready within {_WAIT_SECONDS:.0f} s.")
            time.sleep(_POLL_SECONDS)
        if page["Status"] == "FAILED":
            reason = page.get("StatusReason", "")
            return (), "" if any(words in reason for words in _SAME) else reason or "It gives no reason."
        found = list(page.get("Changes", []))
        while token := page.get("NextToken"):
            page = self._client.describe_change_set(**which, NextToken=token)
            found += page.get("Changes", [])
        return tuple(_change(one["ResourceChange"]) for one in found if one.get("Type") == "Resource"), ""


def _change(one: Any) -> Change:
    return Change(one["Action"], one["LogicalResourceId"], one["ResourceType"], one.get("Replacement", ""))
