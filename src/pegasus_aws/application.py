"""What the deployment knows of the application: its commands, its settings' names, its port and its version."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pegasus import __version__
from pegasus_aws.names import Family

VERSION = __version__
PORT = 8000
VECTORS_PORT = 8000
USER = "10001:10001"  # Of both images; numeric, so that ECS and EFS need no list of names.
USER_ID = "10001"
DATA = "/var/lib/pegasus"
VECTORS_DATA = "/var/lib/chroma"
# Amazon's authorities for RDS are in no list of the system's. The image carries them; they are public.
DATABASE_AUTHORITIES = "/opt/pegasus/rds-global-bundle.pem"
# Two logins that take turns: the one before the last change of the password still opens the door, so a task that was
# started before it runs on until the next one. AWS's function, which changes it, calls the second one so.
DATABASE_LOGINS = ("pegasus_app", "pegasus_app_clone")


@cache
def database_authorities() -> frozenset[str]:
    """The names of those that the image carries."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=files("pegasus_aws").joinpath("rds-global-bundle.pem").read_text("ascii"))
    subjects = (dict(part[0] for part in one["subject"]) for one in context.get_ca_certs())  # type: ignore[misc]
    return frozenset(subject["commonName"] for subject in subjects)


COMMANDS: Mapping[Family, tuple[str, ...]] = {
    "backend-api": ("api",),
    "celery-worker": ("worker",),
    "scheduler": ("scheduler",),
    "data-pipeline": ("pipeline", "run"),
    "roles": ("schema", "roles", *DATABASE_LOGINS),
    "migration": ("schema", "upgrade"),
}

# ECS ignores the Dockerfile's HEALTHCHECK, and there is no curl in a slim image.
# docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html
_ASK = "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}{path}', timeout=4)"
_HEALTHY = ("CMD", "python", "-ISc", _ASK.format(port=PORT, path="/health"))
HEALTH: Mapping[Family, tuple[str, ...]] = {
    "backend-api": _HEALTHY,
    # 503 when a worker's steps hang for good, or a thread of the scheduler goes round no more.
    "celery-worker": _HEALTHY,
    "scheduler": _HEALTHY,
    "chromadb": ("CMD", "/opt/chroma/bin/python", "-ISc", _ASK.format(port=VECTORS_PORT, path="/api/v2/heartbeat")),
}

# Between SIGTERM and SIGKILL; Fargate gives 120 s at most, and so does Spot.
STOP_SECONDS: Mapping[Family, int] = {
    "backend-api": 90, "celery-worker": 120, "scheduler": 60, "chromadb": 60, "data-pipeline": 120, "roles": 60,
    "migration": 120,
}  # fmt: skip

# A process keeps half as many connections to write as to read with.
CONNECTIONS_WRITING_SHARE = 0.5

# Paths that take what people write: the rules of a firewall see attacks in any text about HTML, paths or commands.
CONTENT_PATHS = ("/v1/documents", "/v1/ask", "/v1/search", "/v1/sessions", "/uploads/")
# Where a page, a picture or a file of a hundred megabytes is sent to.
SLOW_PATHS = ("/v1/documents", "/uploads/")

# What the log tells, as metric filters read it. The scheduler measures the queue every so often, as a worker could not:
# where there are none, none would tell.
QUEUE_MEASURED = '{ $.event = "queue.measured" }'
QUEUE_WAITING, QUEUE_OLDEST = "$.waiting", "$.oldest_seconds"
JOB_DEAD = '{ ($.event = "jobs.buried") || (($.event = "jobs.attempt_failed") && ($.state = "dead")) }'
