"""ArcadeDB as compose.yaml expects Neo4j: the password from a file, Bolt on its usual port, its data in /data."""

import base64
import json
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from arcadedb_embedded.server import ArcadeDBServer  # type: ignore[import-untyped]

_HTTP_PORT = 2480
_PREPARE = "prepare"
folder = Path(os.environ.get("ARCADEDB_DATA", "/data"))
user, _, password = Path(os.environ["NEO4J_AUTH_FILE"]).read_text().strip().partition("/")


def started(host: str, **more: object) -> ArcadeDBServer:
    config = {"http_port": _HTTP_PORT, "host": host, **more}
    server = ArcadeDBServer(str(folder), root_password=password, jvm_kwargs={"heap_size": "512m"}, config=config)
    server.start()
    return server


def command(text: str) -> None:
    token = base64.b64encode(f"root:{password}".encode()).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{_HTTP_PORT}/api/v1/server",
        data=json.dumps({"command": text}).encode(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - to ourselves


if sys.argv[1:] == [_PREPARE]:
    server = started("127.0.0.1")
    account = {"name": user, "password": password, "databases": {"neo4j": ["admin"]}}
    command("create database neo4j")
    command(f"create user {json.dumps(account)}")
    server.stop()
else:
    if not (folder / "databases" / "neo4j").is_dir():
        # By a process of its own: the health check looks whether Bolt's port is open, and nobody is to be let in before
        # the database and its user are there.
        subprocess.run([sys.executable, __file__, _PREPARE], check=False, timeout=120)
    bolt = {"server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin", "bolt_port": 7687}
    server = started("0.0.0.0", **bolt)  # noqa: S104 - in a network of its own
    threading.Event().wait()
