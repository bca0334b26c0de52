"""How it is now: the stacks, who is at work, what was deployed last, and whether that is what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pegasus_aws import names
from pegasus_aws.environments import Environment
from pegasus_aws.release import health
from pegasus_aws.release.account import Account
from pegasus_aws.release.history import History, Version
from pegasus_aws.release.lock import Holder, read


@dataclass(frozen=True, slots=True)
class Status:
    account: str
    stacks: Mapping[str, str]  # Its state by name
    lock: Holder | None
    last: Version | None  # The last attempt
    version: Version | None  # The last that succeeded
    wrong: Sequence[str]  # What is otherwise than that version says

    @property
    def well(self) -> bool:
        return self.version is not None and not self.wrong

    def as_dict(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "stacks": dict(self.stacks),
            "lock": self.lock and asdict(self.lock),
            "version": self.version and self.version.number,
            "last_attempt": self.last and outline(self.last),
            "wrong": list(self.wrong),
            "well": self.well,
        }


def status(environment: Environment, account: Account) -> Status:
    stacks: dict[str, str] = {}
    for name in names.STACKS:
        there = account.cloudformation.describe(names.stack(environment, name))
        stacks[name] = there.status if there else "not there"
    history = History(account.objects)
    attempts = history.all()
    succeeded = [one for one in attempts if one.outcome == "succeeded"]
    version = succeeded[-1] if succeeded else None
    wrong = health.observe(environment, account, version.digests) if version and version.digests else ()
    last = attempts[-1] if attempts else None
    return Status(account.identity.account, stacks, read(account.objects), last, version, wrong)


def outline(version: Version) -> dict[str, Any]:
    """A version without its templates and values."""
    return {
        "number": version.number,
        "command": version.command,
        "outcome": version.outcome,
        "began": version.began,
        "ended": version.ended,
        "by": version.by,
        "made_with": version.made_with,
        "backend": version.digests and version.digests.backend,
        "chroma": version.digests and version.digests.chroma,
        "cause": version.cause,
    }
