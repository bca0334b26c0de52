"""What answers at ECS_AGENT_URI in a container: the endpoint for scale-in protection, with its failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ARN = "arn:aws:ecs:us-west-2:012345678910:task/1234567890abcdef0"


class EcsAgent:
    """``answers`` are given in turn, each a status and a body; then the agent does what it is asked."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[dict[str, Any]] = []
        self.answers: list[tuple[int, Any]] = []
        self.protected = False

    def answer(self, path: str, wanted: dict[str, Any]) -> tuple[int, Any]:
        if path != "/api/1/task-protection/v1/state":
            return 404, {"error": {"Code": "NotFound"}}
        self.asked.append(wanted)
        if self.answers:
            return self.answers.pop(0)
        self.protected = wanted["ProtectionEnabled"]
        expiry = {"ExpirationDate": "2026-11-23T21:57:44.837Z"} if self.protected else {}
        return 200, {"protection": {"ProtectionEnabled": self.protected, "TaskArn": ARN, **expiry}}


@contextmanager
def ecs_agent() -> Iterator[EcsAgent]:
    agent = EcsAgent()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = agent.answer(self.path, wanted)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    agent.address = f"http://127.0.0.1:{server.server_port}/api/1"
    try:
        yield agent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
