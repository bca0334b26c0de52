"""The composition root: settings in, a running application out. The only module that knows the adapters."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from pegasus.access import service as access
from pegasus.application import Application
from pegasus.chat.service import ChatService
from pegasus.documents import service as documents
from pegasus.domain import Lane
from pegasus.errors import Conflict, Misconfigured, Unavailable
from pegasus.graph.service import GraphService
from pegasus.ingestion.service import EntityFinder, Indexer
from pegasus.ingestion.tasks import EraseTask, IngestTask, UnpackTask
from pegasus.jobs import service as jobs
from pegasus.jobs.runner import InProcessSignal, LaneSettings, LaneWorker, Task
from pegasus.memory import limit_arenas, release_freed_memory
from pegasus.migrations import HEAD
from pegasus.ports import Embedder, FileStore, RelationalStore
from pegasus.search.service import SearchService
from pegasus.settings import Settings
from pegasus.text.entities import find_mentions

log = structlog.get_logger(__name__)

KEY_FILE = "key"
SERVER_FILE = "server.json"
LOCK_FILE = "lock"
_STOP_SECONDS = 20.0


@contextmanager
def data_directory(path: Path) -> Iterator[Path]:
    """Hold a data directory for this process alone; made, for its owner only, where it is missing.

    Two processes on one Chroma directory silently lose embeddings, so there is no second one.
    Raises ``Conflict`` when another process has it, ``Misconfigured`` when it cannot be used.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (path / LOCK_FILE).open("a+")
    except OSError as error:
        raise Misconfigured(
            f"The data directory {path} cannot be used: {error.strerror}.", hint="Give another one with --data."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise Conflict(
                f"Another Pegasus (process {lock.read().strip() or 'unknown'}) is using {path}.",
                hint="Stop it, or give another directory with --data.",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield path


@contextmanager
def embedded(settings: Settings) -> Iterator[Application]:
    """The whole of Pegasus in this process, on the stores of the data directory, with its workers running."""
    with data_directory(settings.data) as directory:
        application = build(settings, directory)
        try:
            _recover(application)
            for worker in application.workers:
                worker.start()
            release_freed_memory()
            yield application
        finally:
            application.stopping.set()
            for worker in application.workers:
                worker.stop(_STOP_SECONDS)
            application.close()


def build(settings: Settings, directory: Path) -> Application:
    """Open the embedded stores, at the newest schema, and put the services on them; nothing runs yet."""
    from pegasus.adapters.chroma import ChromaVectorStore
    from pegasus.adapters.extractive import ExtractiveAgent
    from pegasus.adapters.files import FolderFileStore
    from pegasus.adapters.kreuzberg import KreuzbergTextExtractor
    from pegasus.adapters.ladybug import LadybugGraphStore
    from pegasus.adapters.sqlite import SqliteRelationalStore

    limit_arenas()
    (directory / "files").mkdir(exist_ok=True)
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
    lane_settings = LaneSettings(settings.job_max_attempts, settings.job_lease_seconds)
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
        doorkeeper=access.Doorkeeper(relational),
        search=search,
        chat=ChatService(relational, search, ExtractiveAgent(embedder)),
        graph=GraphService(relational, graph),
        checks={
            "relational": relational.ping,
            "vectors": vectors.ping,
            "graph": graph.ping,
            "files": files.ping,
            "workers": _all_alive(workers),
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


def _all_alive(workers: tuple[LaneWorker, ...]) -> Callable[[], None]:
    def check() -> None:
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
        for key in files.stored_keys():
            if not documents.is_file_known(tx, key):
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
    with application.relational.write() as tx:
        workspace_id = access.ensure_workspace(tx)
        if file.is_file():
            return LocalAccess(workspace_id, file.read_text().strip())
        _, secret = access.create_key(tx, workspace_id, "local")
        with suppress(FileNotFoundError):
            file.unlink()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secret + "\n")
    return LocalAccess(workspace_id, secret)
