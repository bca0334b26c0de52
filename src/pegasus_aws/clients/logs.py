"""CloudWatch Logs: what tasks said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from botocore.exceptions import ClientError

from pegasus_aws.clients.connection import answers, code, connect


@dataclass(frozen=True, slots=True)
class Line:
    id: str
    at: int  # Milliseconds since 1970
    stream: str
    text: str


class Logs:
    def __init__(self, region: str) -> None:
        self._client = connect("logs", region)

    def tail(self, group: str, stream: str, lines: int) -> Sequence[str]:
        """The last lines of a task; none where it said nothing."""
        with answers(f"the log {group}"):
            try:
                found = self._client.get_log_events(
                    logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False
                )
            except ClientError as error:
                if code(error) == "ResourceNotFoundException":
                    return []
                raise
        return [one["message"].rstrip() for one in found["events"]]

    def since(self, group: str, moment: int) -> Iterator[Line]:
        """All that was said from this millisecond on, in order."""
        with answers(f"the log {group}"):
            pages = self._client.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=moment)
            for page in pages:
                for one in page["events"]:
                    yield Line(one["eventId"], one["timestamp"], one["logStreamName"], one["message"].rstrip())
