"""What a running Pegasus consists of; ``bootstrap`` builds it, the ways in (API, worker) use it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pegasus.access.doorkeeper import Doorkeeper
from pegasus.chat.service import ChatService
from pegasus.graph.service import GraphService
from pegasus.integrity.service import IntegrityService
from pegasus.jobs.reaper import Reaper
from pegasus.jobs.runner import InProcessSignal, LaneWorker
from pegasus.ports import FileStore, GraphStore, JobQueue, JobSignal, RelationalStore, VectorStore
from pegasus.rounds import Rounds
from pegasus.search.service import SearchService
from pegasus.settings import Settings


@dataclass(frozen=True, slots=True)
class Stores:
    """Where everything is kept."""

    relational: RelationalStore
    vectors: VectorStore
    graph: GraphStore
    files: FileStore

    def close(self) -> None:
        for store in (self.vectors, self.graph, self.relational):
            store.close()


@dataclass(frozen=True, slots=True)
class Application:
    settings: Settings
    relational: RelationalStore
    files: FileStore
    signal: JobSignal  # What tells of new jobs.
    workers: tuple[LaneWorker, ...]
    reaper: Reaper
    doorkeeper: Doorkeeper
    search: SearchService
    chat: ChatService
    graph: GraphService
    integrity: IntegrityService
    rounds: Rounds
    checks: Mapping[str, Callable[[], None]]  # What readiness asks; each raises ``Unavailable``.
    close: Callable[[], None]
    wakes: InProcessSignal  # What the workers of this process wait for.
    # What readiness tells of, too, and Pegasus does without.
    optional: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    queue: JobQueue | None = None  # None: all the workers are in this process.
    stopping: threading.Event = field(default_factory=threading.Event)
