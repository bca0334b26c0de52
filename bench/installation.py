"""An installation on the server tier: its servers and its processes, as the tests start them, on loopback."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.harness import ROOT
from pegasus.client import Client

sys.path.append(str(ROOT / "tests"))  # The tests' modules name each other without their folder.

from tests import postgresql, redis_server, servers, several
from tests.several import OPERATOR_KEY, Part, Several, until

__all__ = ["OPERATOR_KEY", "Part", "Several", "finished", "installed", "postgresql", "redis_server", "until"]


@contextmanager
def installed(**settings: str) -> Iterator[Several]:
    """PostgreSQL, Redis, Chroma and a Bolt server with a new installation on them; no process of it runs yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pegasus-bench-")))
        rows = stack.enter_context(postgresql.running())
        broker = stack.enter_context(redis_server.redis_server())
        vectors = stack.enter_context(servers.chroma_server(folder / "chroma"))
        graph = stack.enter_context(servers.bolt_server(folder / "graph"))
        places = {
            "DATABASE_URL": rows.url(rows.create()),
            "REDIS_URL": broker.url,
            "PEGASUS_VECTORS_URL": vectors.url,
            "PEGASUS_GRAPH_URL": f"bolt://root:{quote(servers.PASSWORD)}@127.0.0.1:{graph.port}/{graph.new_database()}",
            "PEGASUS_RATE_LIMIT": "1000000/second",
        }
        yield stack.enter_context(several.several(folder / "processes", **places, **settings))


def finished(client: Client, job_id: str, seconds: float) -> Any:
    """The job once it has succeeded. It is asked for five times a second, which costs next to nothing."""
    until = time.monotonic() + seconds
    while (job := client.call("GET", f"/v1/jobs/{job_id}"))["state"] != "succeeded":
        if job["state"] in ("failed", "dead", "cancelled") or time.monotonic() > until:
            raise RuntimeError(f"a job did not succeed: {job}")
        time.sleep(0.2)
    return job
