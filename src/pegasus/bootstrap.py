"""The composition root: settings in, a running application out. The only module that knows the adapters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.chat.service import ChatService
from pegasus.data_directory import KEY_FILE, data_directory
from pegasus.documents import service as documents
from pegasus.domain import Lane
from pegasus.errors import Misconfigured, Unavailable
from pegasus.graph.service import GraphService
from pegasus.ingestion.service import EntityFinder, Indexer
from pegasus.ingestion.tasks import EraseTask, IngestTask, UnpackTask
from pegasus.jobs import service as jobs
from pegasus.jobs.reaper import Chore, Reaper
from pegasus.jobs.runner import InProcessSignal, LaneSettings, LaneWorker, Task
from pegasus.memory import limit_arenas, release_freed_memory
from pegasus.migrations import HEAD
from pegasus.ports import Embedder, FileStore, RelationalStore
from pegasus.search.service import SearchService
from pegasus.settings import Settings
from pegasus.text.entities import find_mentions

log = structlog.get_logger(__name__)

# Below the 10 s that container engines grant by default.
_STOP_SECONDS = 7.0


@contextmanager
def embedded(settings: Settings) -> Iterator[Application]:
    """The whole of Pegasus in this process, on the stores of the data directory, with its workers running."""
    with data_directory(settings.data) as directory:
        application = build(settings, directory)
        try:
            _recover(application)
            for worker in application.workers:
                worker.start()
            application.reaper.start()
            release_freed_memory()
            yield application
        finally:
            _stop(application)


def _stop(application: Application) -> None:
    """Finish what is in hand within ``_STOP_SECONDS`` all told, then close the stores."""
    application.stopping.set()
    application.reaper.ask_to_stop()
    for worker in application.workers:
        worker.ask_to_stop()
    until = time.monotonic() + _STOP_SECONDS
    in_time = [worker.join(until - time.monotonic()) for worker in application.workers]
    application.reaper.join(until - time.monotonic())
    application.close()
    if not all(in_time):
        # Closing has cut off the file that was being read; its worker now hands the job back.
        log.warning("bootstrap.stopped_late", seconds=_STOP_SECONDS)


def build(settings: Settings, directory: Path) -> Application:
    """Open the embedded stores, at the newest schema, and put the services on them; nothing runs yet."""
    from pegasus.adapters.chroma import ChromaVectorStore
    from pegasus.adapters.extractive import ExtractiveAgent
    from pegasus.adapters.files import FolderFileStore
    from pegasus.adapters.kreuzberg import KreuzbergTextExtractor
    from pegasus.adapters.ladybug import LadybugGraphStore
    from pegasus.adapters.sqlite import SqliteRelationalStore

    limit_arenas()
    try:
        (directory / "files").mkdir(exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"{directory} cannot be written: {error.strerror}.", hint="Check its permissions and the free space."
        ) from error
    relational = SqliteRelationalStore(directory / "pegasus.sqlite3")
    relational.migrate(HEAD)
    vectors = ChromaVectorStore(directory / "vectors")
    graph = LadybugGraphStore(directory / "graph.ladybug")
    files = FolderFileStore(directory / "files")
    extractor = KreuzbergTextExtractor(
        timeout_seconds=settings.parse_timeout_seconds, memory_bytes=settings.parse_memory_bytes
    )
    embedder = _embedder(settings)
    signal = InProcessSignal()
    indexer = Indexer(relational, vectors, graph, embedder, _entity_finder(settings))
    tasks: dict[str, Task] = {
        "ingest": IngestTask(relational, files, extractor, indexer, signal, settings.max_text_characters),
        "erase": EraseTask(relational, files, indexer),
        "unpack": UnpackTask(relational, files, signal, settings.max_upload_bytes, settings.max_archive_bytes),
    }
    lane_settings = LaneSettings(settings.job_max_attempts, settings.job_lease_seconds, settings.job_step_seconds)
    workers = tuple(LaneWorker(lane, relational, tasks, signal, lane_settings, release_freed_memory) for lane in Lane)
    search = SearchService(relational, vectors, graph, embedder)

    def close() -> None:
        search.close()
        for part in (extractor, vectors, graph, relational):
            part.close()

    return Application(
        settings=settings,
        relational=relational,
        files=files,
        signal=signal,
        workers=workers,
        reaper=Reaper(relational, _chores(settings)),
        doorkeeper=access.Doorkeeper(relational),
        search=search,
        chat=ChatService(relational, search, ExtractiveAgent(embedder)),
        graph=GraphService(relational, graph),
        checks={
            "relational": relational.ping,
            "vectors": vectors.ping,
            "graph": graph.ping,
            "files": files.ping,
            "search": search.check,
            "workers": _all_at_work(workers),
        },
        close=close,
    )


def _embedder(settings: Settings) -> Embedder:
    if settings.embedder == "hash":
        from pegasus.adapters.hashing import HashEmbedder

        return HashEmbedder()
    from pegasus.adapters.minilm import MiniLmEmbedder

    return MiniLmEmbedder(settings.embedding_threads)


def _entity_finder(settings: Settings) -> EntityFinder:
    if settings.entities == "spacy":
        from pegasus.adapters.spacy_entities import SpacyEntityFinder

        return SpacyEntityFinder().find_mentions
    return find_mentions


def _chores(settings: Settings) -> list[Chore]:
    retention_seconds = settings.job_retention_days * 86_400
    return [
        Chore("jobs left behind", 30, lambda tx: jobs.tidy(tx, time.time(), settings.job_lease_seconds)),
        Chore("finished jobs", 3_600, lambda tx: jobs.delete_finished(tx, time.time() - retention_seconds)),
        Chore("idempotency replies", 3_600, access.forget_old_replies),
    ]


def _all_at_work(workers: tuple[LaneWorker, ...]) -> Callable[[], None]:
    def check() -> None:
        stuck = [f"{worker.stuck} of the lane {worker.lane}" for worker in workers if worker.stuck]
        if stuck:
            raise Unavailable(f"Workers are stuck: {', '.join(stuck)}.", hint="Restart Pegasus; see its log.")
        dead = [worker.owner for worker in workers if not worker.alive]
        if dead:
            raise Unavailable(f"Workers have ended: {', '.join(dead)}.", hint="Restart Pegasus; see its log.")

    return check


def _recover(application: Application) -> None:
    """What a killed process left: jobs that it held go back in the queue, files that no row names are removed."""
    with application.relational.write() as tx:
        resumed = jobs.recover(tx)
    swept = _sweep_files(application.relational, application.files)
    if resumed or swept:
        log.info("bootstrap.recovered", jobs=resumed, files=swept)


def _sweep_files(relational: RelationalStore, files: FileStore) -> int:
    swept = 0
    with relational.read() as tx:
        known = documents.known_files(tx) | jobs.archive_files(tx)
    for key in files.stored_keys():
        if key not in known:
            files.delete(key)
            swept += 1
    return swept


@dataclass(frozen=True, slots=True)
class LocalAccess:
    workspace_id: str
    key: str


def local_access(application: Application, directory: Path) -> LocalAccess:
    """The local workspace and its key, made at the first start; the key's file can be read by its owner only."""
    file = directory / KEY_FILE
    kept = file.read_text().strip() if file.is_file() else ""
    with application.relational.write() as tx:
        workspace_id = access.ensure_workspace(tx)
        if kept and access.opens(tx, kept, workspace_id):
            return LocalAccess(workspace_id, kept)
        _, secret = access.create_key(tx, workspace_id, "local")
    # After the commit, and in one step: a file is never there without the key that it has, or half written.
    temporary = directory / f"{KEY_FILE}.new"
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secret + "\n")
    temporary.replace(file)
    return LocalAccess(workspace_id, secret)
