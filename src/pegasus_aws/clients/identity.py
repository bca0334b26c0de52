"""STS: as whom, and in which account, all of it is done."""

from __future__ import annotations

from dataclasses import dataclass

from pegasus_aws.clients.connection import answers, connect


@dataclass(frozen=True, slots=True)
class Identity:
    account: str
    arn: str


def identity(region: str) -> Identity:
    with answers("who you are"):
        found = connect("sts", region).get_caller_identity()
    return Identity(found["Account"], found["Arn"])
