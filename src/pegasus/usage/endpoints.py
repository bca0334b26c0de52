"""Usage over HTTP, and the metrics for Prometheus."""

from __future__ import annotations

import hmac

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response

from pegasus.errors import NotFound
from pegasus.metrics import MEDIA_TYPE
from pegasus.usage import service
from pegasus.usage.schemas import UsageOut
from pegasus.web import App, Reader, Router, problems

router = Router()


@router.get("/v1/usage", tags=["usage"], responses=problems(401))
def read_usage(app: App, caller: Reader) -> UsageOut:
    """What your workspace holds and waits for."""
    with app.relational.read(caller.workspace_id) as tx:
        return UsageOut.of(service.usage(tx, caller.workspace_id))


@router.get("/metrics", tags=["service"], response_class=PlainTextResponse, responses=problems(404))
def read_metrics(app: App, request: Request) -> Response:
    """What the process measures, for Prometheus; only with PEGASUS_METRICS_TOKEN as bearer token, else not there."""
    wanted = app.settings.metrics_token
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    fits = wanted and hmac.compare_digest(token.strip().encode(), wanted.get_secret_value().encode())
    if scheme.lower() != "bearer" or not fits:
        raise NotFound("There are no metrics here.", hint="Set PEGASUS_METRICS_TOKEN and send it as bearer token.")
    parts = {**app.checks, **app.optional}
    return Response(service.exposition(app.relational, parts, app.queue), media_type=MEDIA_TYPE)
