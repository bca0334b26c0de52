"""Scale-in protection of a task in Amazon ECS, asked for at the agent that ECS_AGENT_URI names in each container.

docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

from __future__ import annotations

from typing import Any

import httpx

from pegasus.errors import Unavailable

_TIMEOUT_SECONDS = 5.0


class EcsScaleInProtection:
    def __init__(self, agent_uri: str) -> None:
        self._url = f"{agent_uri.rstrip('/')}/task-protection/v1/state"

    def protect(self, minutes: int) -> None:
        self._put({"ProtectionEnabled": True, "ExpiresInMinutes": minutes})

    def release(self) -> None:
        self._put({"ProtectionEnabled": False})

    def _put(self, wanted: dict[str, Any]) -> None:
        try:
            # Never by a proxy, and without certificates, which take long to load: the agent is on this very machine.
            with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False, verify=False) as client:  # noqa: S501
                response = client.put(self._url, json=wanted)
            said = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"The ECS agent does not answer: {type(error).__name__}: {error}.") from error
        # What it could not do it also tells with 200: then there is a failure in the place of the protection.
        protection = said.get("protection") if isinstance(said, dict) else None
        if response.is_error or not protection or protection.get("ProtectionEnabled") != wanted["ProtectionEnabled"]:
            raise Unavailable(f"The ECS agent does not protect this task: {response.status_code} {str(said)[:300]}.")
