"""An emulated account, and a few words to talk to it in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from servers import REQUIRED

from pegasus_aws.environments import DEVELOPMENT, Environment
from pegasus_aws.programs import NotInstalled, programs_of
from pegasus_aws.rehearsal.emulator import Emulator, running_emulator

_SECONDS = 120.0


class Account:
    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.cloudformation = self.client("cloudformation")

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        return boto3.client(service, endpoint_url=self.emulator.endpoint, region_name=self.emulator.region, **keys)

    def build(self, name: str, template: Any, kind: str = "CREATE", **parameters: str) -> str:
        """By a change set, as it is done on AWS; the status that the stack ends in."""
        which = {"StackName": name, "ChangeSetName": kind.lower()}
        self.cloudformation.create_change_set(
            **which, ChangeSetType=kind, TemplateBody=template if isinstance(template, str) else json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )  # fmt: skip
        made = ended(lambda: self.cloudformation.describe_change_set(**which)["Status"])
        if made == "FAILED":
            return str(self.cloudformation.describe_change_set(**which)["StatusReason"])
        self.cloudformation.execute_change_set(**which)
        return self.settled(name)

    def settled(self, name: str) -> str:
        return ended(lambda: self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

    def stack_id(self, name: str) -> str:
        return str(self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"])

    def remove(self, name: str) -> str:
        identifier = self.stack_id(name)
        self.cloudformation.delete_stack(StackName=name)
        return self.settled(identifier)

    def failures(self, name: str) -> list[str]:
        events = self.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        return [one.get("ResourceStatusReason", "") for one in events if one["ResourceStatus"].endswith("_FAILED")]


def ended(status: Callable[[], str]) -> str:
    until = time.monotonic() + _SECONDS
    while (now := status()).endswith(("IN_PROGRESS", "PENDING")):
        assert time.monotonic() < until, now
        time.sleep(0.05)
    return now


def resource(type_: str, **properties: Any) -> dict[str, Any]:
    return {"Type": type_, "Properties": properties}


@contextmanager
def account(
    folder: Path, environment: Environment = DEVELOPMENT, *, engine: str | None = None, mended: bool = True
) -> Iterator[Account]:
    """Skips where the emulator cannot be had, unless it has to be there."""
    try:
        programs_of("emulator")
    except NotInstalled as why:
        if REQUIRED:
            pytest.fail(str(why))
        pytest.skip(str(why))
    with running_emulator(folder, environment, engine=engine, mended=mended) as emulator:
        yield Account(emulator)
