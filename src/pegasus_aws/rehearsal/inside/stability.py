"""CloudFormation waits for what it makes: a stack is complete when its services are, and fails when they do."""

from __future__ import annotations

import time
from typing import Any

from ministack.services import ecs
from ministack.services.cloudformation import provisioners, stacks

from pegasus_aws.rehearsal.inside.waiting import on_a_thread_of_its_own

_SERVICE = "AWS::ECS::Service"
_SECONDS, _POLL_SECONDS = 300.0, 0.2
Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]


def install() -> None:
    handler = provisioners._RESOURCE_HANDLERS[_SERVICE]
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def created(logical_id: str, properties: Properties, stack: str) -> Made:
        made: Made = create(logical_id, properties, stack)
        try:
            _await(made[0])
        except ValueError:
            delete(made[0], properties)  # The stack goes back, and knows nothing of what was not completed.
            raise
        return made

    def updated(physical_id: str, *rest: Any) -> Made:
        made: Made = update(physical_id, *rest)
        _await(made[0])
        return made

    handler |= {"create": created, "update": updated}
    on_a_thread_of_its_own(_SERVICE)
    # ECS goes back by its own, but only to the task definition before; the rest of the service is CloudFormation's.
    plain = stacks._sends_back_failed_update
    stacks._sends_back_failed_update = lambda type_: type_ == _SERVICE or plain(type_)


def _await(arn: str) -> None:
    """Until the deployment that was begun has come up. Raises ``ValueError`` when it did not."""
    key = "/".join(arn.split("/")[-2:])
    begun = ecs._primary_deployment(ecs._services[key])["id"]
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        service = ecs._services.get(key)
        if service is None or service["status"] != "ACTIVE":
            raise ValueError(f"{arn} went while it was waited for.")
        deployment = next((one for one in service["deployments"] if one["id"] == begun), None)
        if deployment is None or deployment["rolloutState"] == "FAILED":
            reason = deployment["rolloutStateReason"] if deployment else "It was taken back."
            raise ValueError(
                f"Error occurred during operation 'ECS Deployment Circuit Breaker was triggered'. {reason}"
            )
        if deployment["rolloutState"] == "COMPLETED" and service["runningCount"] >= service["desiredCount"]:
            return
        time.sleep(_POLL_SECONDS)
    raise ValueError(f"{arn} did not stabilize.")
