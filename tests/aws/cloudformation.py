"""A server on loopback that answers as CloudFormation does: stacks that run, and change sets against them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

_SPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@dataclass
class Account:
    stacks: dict[str, str] = field(default_factory=dict)  # status by name
    changes: dict[str, list[tuple[str, str, str, str]]] = field(default_factory=dict)  # action, id, type, replacement
    refuses: str | None = None
    silent: bool = False
    made: dict[str, int] = field(default_factory=dict)  # change sets that are there, and how often they were looked at
    bodies: dict[str, str] = field(default_factory=dict)
    parameters: list[dict[str, str]] = field(default_factory=list)

    def answer(self, action: str, given: dict[str, str]) -> tuple[int, str]:
        if self.silent:
            return 403, _error("AccessDenied", "User is not authorized to perform this action")
        return getattr(self, f"_{action}")(given)

    def _DescribeStacks(self, given: dict[str, str]) -> tuple[int, str]:  # noqa: N802 - the API's own name.
        name = given["StackName"]
        if name not in self.stacks:
            return 400, _error("ValidationError", f"Stack with id {name} does not exist")
        digest = "<member><ParameterKey>BackendDigest</ParameterKey><ParameterValue>sha256:0</ParameterValue></member>"
        parameters = f"<Parameters>{digest}</Parameters>" if name.endswith("services") else ""
        about = f"<StackName>{name}</StackName><StackStatus>{self.stacks[name]}</StackStatus>"
        created = "<CreationTime>2026-01-01T00:00:00Z</CreationTime>"
        return 200, _result("DescribeStacks", f"<Stacks><member>{about}{created}{parameters}</member></Stacks>")

    def _CreateChangeSet(self, given: dict[str, str]) -> tuple[int, str]:  # noqa: N802
        self.made[given["ChangeSetName"]] = 0
        self.bodies[given["StackName"]] = given["TemplateBody"]
        self.parameters.append({key: value for key, value in given.items() if key.startswith("Parameters.")})
        return 200, _result("CreateChangeSet", "<Id>arn</Id>")

    def _DescribeChangeSet(self, given: dict[str, str]) -> tuple[int, str]:  # noqa: N802
        self.made[given["ChangeSetName"]] += 1
        if self.made[given["ChangeSetName"]] == 1:
            return 200, _result("DescribeChangeSet", "<Status>CREATE_IN_PROGRESS</Status>")
        found = self.changes.get(given["StackName"], [])
        if self.refuses or not found:
            reason = self.refuses or "The submitted information didn't contain changes. Submit different information."
            said = f"<Status>FAILED</Status><StatusReason>{escape(reason)}</StatusReason>"
            return 200, _result("DescribeChangeSet", said)
        # A change a page, as if there were many.
        page = int(given.get("NextToken", 0))
        more = f"<NextToken>{page + 1}</NextToken>" if page + 1 < len(found) else ""
        changes = f"<Changes>{_change(*found[page])}</Changes>{more}"
        return 200, _result("DescribeChangeSet", f"<Status>CREATE_COMPLETE</Status>{changes}")

    def _DeleteChangeSet(self, given: dict[str, str]) -> tuple[int, str]:  # noqa: N802
        del self.made[given["ChangeSetName"]]
        return 200, _result("DeleteChangeSet", "")


def _change(action: str, resource: str, kind: str, replacement: str) -> str:
    replaced = f"<Replacement>{replacement}</Replacement>" if replacement else ""
    about = (
        f"<Action>{action}</Action><LogicalResourceId>{resource}</LogicalResourceId><ResourceType>{kind}</ResourceType>"
    )
    return f"<member><Type>Resource</Type><ResourceChange>{about}{replaced}</ResourceChange></member>"


def _result(action: str, content: str) -> str:
    result = f"<{action}Result>{content}</{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
    return f'<{action}Response xmlns="{_SPACE}">{result}</{action}Response>'


def _error(code: str, message: str) -> str:
    about = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message>"
    return f'<ErrorResponse xmlns="{_SPACE}"><Error>{about}</Error><RequestId>1</RequestId></ErrorResponse>'


@contextmanager
def serving(account: Account) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = {key: values[0] for key, values in parse_qs(body, keep_blank_values=True).items()}
            status, text = account.answer(given["Action"], given)
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
