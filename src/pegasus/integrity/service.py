"""What can be asked of integrity: a check now, a repair as a job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pegasus.domain import Job, Lane
from pegasus.integrity.check import Check, Difference, Step
from pegasus.jobs import service as jobs
from pegasus.ports import ConnectionBudget, Transaction

_TOLD = 1_000  # Differences that a report tells of one by one; the others are counted.


@dataclass(slots=True)
class Report:
    """What a check found; ``by_kind`` counts all differences, also those that are not told one by one."""

    differences: list[Difference] = field(default_factory=list)
    by_kind: Counter[str] = field(default_factory=Counter)
    checked: Mapping[str, int] = field(default_factory=dict)
    took_ms: float = 0.0
    connections: ConnectionBudget | None = None

    @property
    def consistent(self) -> bool:
        return not self.by_kind


class IntegrityService:
    def __init__(
        self, new_check: Callable[[], Check], connections: Callable[[], ConnectionBudget | None] = lambda: None
    ) -> None:
        self._new_check, self._connections = new_check, connections

    def check(self, workspace_id: str | None = None) -> Report:
        """Compare all stores, of one workspace or of the installation."""
        *_, last = self.follow(workspace_id)
        if not isinstance(last, Report):
            raise TypeError("a check ends with its report")
        return last

    def follow(self, workspace_id: str | None = None) -> Iterator[Step | Report]:
        """As ``check``, telling how far it is; the report comes last."""
        begun = time.perf_counter()
        check, report = self._new_check(), Report()
        for found in check.run(workspace_id):
            if isinstance(found, Step):
                yield found
                continue
            report.by_kind[found.kind] += 1
            if len(report.differences) < _TOLD:
                report.differences.append(found)
        report.checked = dict(check.counted)
        if workspace_id is None:  # It is told to who runs the installation.
            report.connections = self._connections()
        report.took_ms = (time.perf_counter() - begun) * 1000
        yield report


def repair(tx: Transaction, asked_by: str, workspace_id: str | None) -> Job:
    """The job that mends what differs, in one workspace or in the installation; it is seen by who asked for it."""
    return jobs.enqueue(tx, asked_by, "repair", Lane.INDEX, "check", payload={"workspace_id": workspace_id})
