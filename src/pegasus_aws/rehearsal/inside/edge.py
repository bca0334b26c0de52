"""The way in: requests for the domain's name go to the balancer that its record in Route 53 points at.

TLS would end at the balancer; here they come without it, and are taken for what comes over it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ministack.core.responses import get_account_id, request_scope
from ministack.services import alb, route53

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]
_HTTPS = b":443"


def with_names(application: Application, region: str) -> Application:
    async def answer(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (balancer := _balancer(_host(scope), region)):
            scope = _to(scope, balancer)
        await application(scope, receive, send)

    return answer


def _host(scope: Scope) -> str:
    named = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return str(named.partition(b":")[0].decode("latin-1")).lower()


def _balancer(host: str, region: str) -> str | None:
    """The name of the balancer that a record of that name is an alias for."""
    with request_scope(get_account_id(), region):
        wanted = route53._normalise_name(host)
        aliases = {
            record["AliasTarget"]["DNSName"].rstrip(".").lower()
            for records in route53._records.values()
            for record in records
            if record.get("AliasTarget") and record["Name"] == wanted
        }
        balancers = [one for one in alb._lbs.values() if one["DNSName"].lower() in aliases]
        return str(balancers[0]["LoadBalancerName"]) if balancers else None


def _to(scope: Scope, balancer: str) -> Scope:
    before = f"/_alb/{balancer}"
    headers = [
        (name, value.partition(b":")[0] + _HTTPS if name == b"host" else value) for name, value in scope["headers"]
    ]
    raw = scope.get("raw_path") or scope["path"].encode()
    return {**scope, "path": before + scope["path"], "raw_path": before.encode() + raw, "headers": headers}
