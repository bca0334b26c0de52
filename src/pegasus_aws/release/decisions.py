"""What to do with a stack as it was found, whoever left it so: the operator before may have been killed anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pegasus_aws.clients.cloudformation import Event

Step = Literal["create", "update", "wait", "delete", "continue", "refuse"]

_STEPS: Mapping[str, Step] = {
    # A change set was made for a stack that was never there, and nobody carried it out.
    "REVIEW_IN_PROGRESS": "create",
    "CREATE_COMPLETE": "update",
    "UPDATE_COMPLETE": "update",
    "UPDATE_ROLLBACK_COMPLETE": "update",
    "IMPORT_COMPLETE": "update",
    "IMPORT_ROLLBACK_COMPLETE": "update",
    # A creation that failed leaves a shell that can only be deleted.
    "CREATE_FAILED": "delete",
    "ROLLBACK_COMPLETE": "delete",
    "ROLLBACK_FAILED": "delete",
    "DELETE_FAILED": "refuse",
    "DELETE_COMPLETE": "create",
    "UPDATE_ROLLBACK_FAILED": "continue",
}
_SUCCEEDED = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# What CloudFormation says of those that it took back or gave up because of another one.
_CONSEQUENCES = ("cancelled", "The following resource(s) failed")


def next_step(status: str | None) -> Step:
    if status is None:
        return "create"
    if status in _STEPS:
        return _STEPS[status]
    return "wait" if status.endswith("_IN_PROGRESS") else "refuse"


def succeeded(status: str | None) -> bool:
    """As the end of a change that was carried out; that it was rolled back is no success."""
    return status in _SUCCEEDED


def ended(status: str | None) -> bool:
    return status is None or next_step(status) != "wait"


def cause(events: Sequence[Event]) -> Event | None:
    """The first event of an operation that failed by itself, not because of another one; oldest first."""
    failed = [one for one in events if one.status.endswith("_FAILED")]
    own = [one for one in failed if one.reason and not any(words in one.reason for words in _CONSEQUENCES)]
    return next(iter(own or failed), None)
