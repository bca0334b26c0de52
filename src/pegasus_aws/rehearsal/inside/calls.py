"""Calls of the emulator's own API functions from within its process.

A handler that came back over HTTP would hang: stacks are built on the loop that answers requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ministack.services import backup, ec2, ecs, waf

_MESSAGE = re.compile(r"<Message>(.*?)</Message>|\"[mM]essage\": ?\"(.*?)\"", re.DOTALL)


def ec2_call(action: str, parameters: Mapping[str, Any]) -> str:
    """The answer's XML. Raises ``ValueError`` with the refusal, as handlers of resources do."""
    flat = dict(_flat(parameters))
    return _body(ec2._ACTION_MAP[action](flat))


def waf_associate(firewall: str, resource: str) -> None:
    _body(waf._associate_web_acl({"WebACLArn": firewall, "ResourceArn": resource}))


def waf_dissociate(resource: str) -> None:
    _body(waf._disassociate_web_acl({"ResourceArn": resource}))


def backup_select(plan: str, selection: Mapping[str, Any]) -> str:
    """The id of the selection."""
    made = _body(backup._create_selection(plan, {"BackupSelection": selection}))
    return str(json.loads(made)["SelectionId"])


def backup_deselect(plan: str, selection: str) -> None:
    _body(backup._delete_selection(plan, selection))


def ecs_providers(cluster: str, providers: Any, strategy: Any) -> None:
    _body(
        ecs._put_cluster_capacity_providers(
            {"cluster": cluster, "capacityProviders": providers, "defaultCapacityProviderStrategy": strategy}
        )
    )


def tag(xml: str, name: str) -> str:
    """The first element of that name."""
    found = re.search(rf"<{name}>(.*?)</{name}>", xml)
    if found is None:
        raise ValueError(f"The emulator's answer has no {name}.")
    return found[1]


def _body(answer: Any) -> str:
    status, _, body = answer[:3]
    text = body.decode() if isinstance(body, bytes) else str(body)
    if status >= 400:
        said = _MESSAGE.search(text)
        raise ValueError((said[1] or said[2]) if said else text[:300])
    return text


def _flat(parameters: Mapping[str, Any], before: str = "") -> list[tuple[str, list[str]]]:
    """As EC2's protocol has nested values: ``Groups.1.GroupId``."""
    found: list[tuple[str, list[str]]] = []
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        elif isinstance(value, list | tuple):
            found += _flat({str(number): one for number, one in enumerate(value, 1)}, f"{before}{name}.")
        elif value is not None:
            found.append((f"{before}{name}", [str(value).lower() if isinstance(value, bool) else str(value)]))
    return found
