"""The balancer: which of its targets answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pegasus_aws.clients.connection import answers, connect


@dataclass(frozen=True, slots=True)
class Target:
    address: str
    state: str  # healthy, initial, unhealthy, draining, unused
    reason: str


class Balancer:
    def __init__(self, region: str) -> None:
        self._client = connect("elbv2", region)

    def targets(self, group: str) -> Sequence[Target]:
        with answers("the health of the targets"):
            found = self._client.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [
            Target(
                one["Target"]["Id"],
                one["TargetHealth"]["State"],
                one["TargetHealth"].get("Description") or one["TargetHealth"].get("Reason", ""),
            )
            for one in found
        ]
