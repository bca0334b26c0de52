"""The composition root: settings in, a running application out. The only module that knows the adapters."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from pegasus import tracing
from pegasus.access import service as access
from pegasus.access.doorkeeper import Doorkeeper, Rates
from pegasus.access.scopes import Scope
from pegasus.application import Application, Stores
from pegasus.chat.service import ChatService
from pegasus.data_directory import KEY_FILE, data_directory, is_abandoned, replacing
from pegasus.documents import service as documents
from pegasus.domain import Lane, Rate, Source
from pegasus.errors import Conflict, Misconfigured, NotFound, Unavailable
from pegasus.graph.service import GraphService
from pegasus.ingestion.service import EntityFinder, Indexer
from pegasus.ingestion.tasks import IngestTask, UnpackTask
from pegasus.integrity.check import Check
from pegasus.integrity.erasure import Eraser
from pegasus.integrity.rebuild import GRAPH, RebuildTask, compact_when_due
from pegasus.integrity.rebuild import enqueue as enqueue_rebuild
from pegasus.integrity.repair import Repairer
from pegasus.integrity.service import IntegrityService
from pegasus.integrity.tasks import EraseTask, RepairTask
from pegasus.integrity.workspaces import EraseWorkspaceTask
from pegasus.jobs import service as jobs
from pegasus.jobs.reaper import Chore, Reaper
from pegasus.jobs.runner import InProcessSignal, LaneSettings, LaneWorker, Task
from pegasus.memory import limit_arenas, release_freed_memory
from pegasus.migrations import HEAD
from pegasus.ports import Embedder, FileStore, GraphStore, RelationalStore, SourceReader, VectorStore
from pegasus.search.service import SearchService
from pegasus.settings import Settings
from pegasus.sources import schemas as sources
from pegasus.sources.scheduler import scheduling
from pegasus.sources.tasks import SourceTask
from pegasus.store_urls import Bucket, GraphServer, VectorServer
from pegasus.text.entities import find_mentions
from pegasus.text.feed import ReadFeed

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pegasus.integrity.archive import Manifest
    from pegasus.integrity.backup import Progress
    from pegasus.integrity.drill import Drill
    from pegasus.integrity.encryption import Opened
    from pegasus.integrity.restore import Restored

log = structlog.get_logger(__name__)

# Below the 10 s that container engines grant by default.
_STOP_SECONDS = 7.0
_ROWS_FILE = "pegasus.sqlite3"


@contextmanager
def embedded(settings: Settings, *, scheduled: bool = False) -> Iterator[Application]:
    """The whole of Pegasus in this process, with its workers running: on the stores of the data directory, and on the
    servers that the settings name in place of some of them.

    ``scheduled``: sources run by themselves, which is not for a process that lives for one command.
    """
    with data_directory(settings.data) as directory:
        application = build(settings, directory)
        try:
            _recover(application)
            for worker in application.workers:
                worker.start()
            application.reaper.start()
            release_freed_memory()
            with scheduling(application.relational, application.signal) if scheduled else nullcontext():
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


def open_stores(settings: Settings, directory: Path, revision: str = HEAD) -> Stores:
    """The stores that the settings name, the others in a directory, made where they are missing; with the schema at a
    revision. Raises ``Misconfigured``."""
    with ExitStack() as opened:
        files = _open_files(settings.files, directory)
        relational = opened.enter_context(closing(_open_relational(directory, database_of(settings))))
        relational.migrate(revision)
        vectors = opened.enter_context(closing(_open_vectors(settings.vector_server, directory)))
        graph = opened.enter_context(closing(_open_graph(settings.graph_server, directory)))
        opened.pop_all()
        return Stores(relational, vectors, graph, files)


def _open_files(place: Bucket | Path | None, directory: Path) -> FileStore:
    if isinstance(place, Bucket):
        from pegasus.adapters.s3_files import S3FileStore

        return S3FileStore(place.name, place.prefix, region=place.region, endpoint=place.endpoint)
    from pegasus.adapters.files import FolderFileStore

    folder = place or directory / "files"
    try:
        folder.mkdir(parents=place is not None, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"{folder.parent} cannot be written: {error.strerror}.", hint="Check its permissions and the free space."
        ) from error
    return FolderFileStore(folder)


def _open_vectors(server: VectorServer | None, directory: Path) -> VectorStore:
    if server:
        from pegasus.adapters.chroma_server import ChromaServerVectorStore

        return ChromaServerVectorStore(server.url)
    from pegasus.adapters.chroma import ChromaVectorStore

    return ChromaVectorStore(directory / "vectors")


def _open_graph(server: GraphServer | None, directory: Path) -> GraphStore:
    if server is None:
        from pegasus.adapters.ladybug import LadybugGraphStore

        return LadybugGraphStore(directory / "graph.ladybug")
    _need("neo4j", "PEGASUS_GRAPH_URL", "server")
    from pegasus.adapters.bolt import BoltGraphStore

    if server.region:
        _need("botocore", "PEGASUS_GRAPH_URL with auth=sigv4", "aws")
        from pegasus.adapters.neptune_signature import NeptuneSignatures

        signatures = NeptuneSignatures(server.host, server.region).auth_manager()
        return BoltGraphStore(server.address, signatures, neptune=True)
    auth = (server.user, server.password or "") if server.user else None
    return BoltGraphStore(server.address, auth, database=server.database)


def _need(module: str, setting: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Misconfigured(
            f"{setting} needs {module}, which is not installed.",
            hint=f"Install it: pip install 'pegasus[{extra}]'; or unset the setting.",
        )


@dataclass(frozen=True, slots=True)
class Database:
    """PostgreSQL, where rows are not in the data directory."""

    url: SecretStr
    connections: int


def database_of(settings: Settings) -> Database | None:
    return Database(settings.database_url, settings.database_connections) if settings.database_url else None


def _open_relational(directory: Path, database: Database | None) -> RelationalStore:
    if database:
        from pegasus.adapters.postgres import PostgresRelationalStore

        return PostgresRelationalStore(database.url.get_secret_value(), database.connections)
    from pegasus.adapters.sqlite import SqliteRelationalStore

    return SqliteRelationalStore(directory / _ROWS_FILE)


@contextmanager
def truth(
    directory: Path, files: Bucket | Path | None = None, database: Database | None = None
) -> Iterator[tuple[RelationalStore, FileStore]]:
    """Rows and original files, whoever holds the data directory: of these, unlike of vectors and graph, there may be
    more users at a time. Raises ``NotFound`` where there are none."""
    if not database and not (directory / _ROWS_FILE).is_file():
        raise NotFound(f"There is nothing in {directory} yet.", hint="Give another directory with --data.")
    relational = _open_relational(directory, database)
    try:
        relational.migrate(HEAD)
        yield relational, _open_files(files, directory)
    finally:
        relational.close()


def restore(settings: Settings, archive: Opened, manifest: Manifest, progress: Progress) -> Restored:
    """Restore a checked archive into the data directory. Raises ``Conflict`` when there are documents in it."""
    from pegasus.integrity import restore as restoring

    if settings.database_url:
        raise Misconfigured(
            "A backup is restored into a data directory, and DATABASE_URL says that rows are in PostgreSQL.",
            hint="Unset DATABASE_URL to restore it there. PostgreSQL is saved and restored with its own pg_dump.",
        )
    with data_directory(settings.data) as directory:
        _check_empty(directory)
        with replacing(directory) as folder:
            return restoring.restore(archive, manifest, folder, partial(open_stores, settings), progress)


def _check_empty(directory: Path) -> None:
    try:
        with truth(directory) as (relational, _), relational.read() as tx:
            empty = not documents.any_at_all(tx)
    except NotFound:
        return
    except Misconfigured:  # What cannot be opened may be somebody's documents all the same.
        empty = False
    if not empty:
        raise Conflict(
            f"There are documents in {directory}; a backup is restored only where there are none.",
            hint="Give another directory with --data, or move this one away.",
        )


def drill(settings: Settings, archive: Opened, manifest: Manifest, progress: Progress) -> Drill:
    """Restore a checked archive into a place of its own, search it and ask it, and take it away again."""
    from pegasus.integrity import restore as restoring
    from pegasus.integrity.drill import try_out

    with _beside(settings.data) as folder:
        # Whatever servers there are stay as they are.
        settings = settings.embedded(folder)
        restored = restoring.restore(archive, manifest, folder, partial(open_stores, settings), progress)
        application = build(settings, folder)
        try:
            return try_out(restored, application.relational, application.search, application.chat, progress)
        finally:
            application.close()


@contextmanager
def _beside(directory: Path) -> Iterator[Path]:
    """A passing folder on the data directory's disk, or, where nothing can be made there, wherever such are made."""
    place = directory.parent if os.access(directory.parent, os.W_OK) else Path(tempfile.gettempdir())
    prefix = f"{directory.name}-drill-"
    for left in place.iterdir():
        # Of a drill that was killed: it has documents that were erased since.
        if left.name.startswith(prefix) and is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as folder, data_directory(Path(folder)) as held:
        yield held


def build(settings: Settings, directory: Path) -> Application:
    """Open the stores, at the newest schema, and put the services on them; nothing runs yet."""
    from pegasus.adapters.extractive import ExtractiveAgent
    from pegasus.adapters.kreuzberg import KreuzbergTextExtractor
    from pegasus.adapters.memory_limiter import InMemoryRateLimiter

    limit_arenas()
    stop_tracing = tracing.start(settings.otlp_endpoint, settings.trace_ratio) if settings.otlp_endpoint else None
    stores = open_stores(settings, directory)
    relational, vectors, graph, files = stores.relational, stores.vectors, stores.graph, stores.files
    if graph.lost_its_end:
        log.warning("bootstrap.graph_lost_its_end", next="It is made anew from the rows, by a job.")
        with relational.write() as tx:
            enqueue_rebuild(tx, access.ensure_workspace(tx), [GRAPH])
    extractor = KreuzbergTextExtractor(
        timeout_seconds=settings.parse_timeout_seconds, memory_bytes=settings.parse_memory_bytes
    )
    embedder = _embedder(settings)
    signal = InProcessSignal()
    indexer = Indexer(relational, vectors, graph, embedder, _entity_finder(settings))

    def new_check() -> Check:
        return Check(relational, vectors, graph, files, embedder)

    repairer = Repairer(relational, vectors, graph, files, indexer, settings.max_upload_bytes)
    rebuild = RebuildTask(relational, vectors, graph)
    eraser = Eraser(relational, files, indexer)
    open_reader = _source_readers(settings, extractor.read_feed)
    tasks: dict[str, Task] = {
        "ingest": IngestTask(relational, files, extractor, indexer, signal, settings.max_text_characters),
        "erase": EraseTask(eraser),
        "erase-workspace": EraseWorkspaceTask(relational, vectors, graph, files, eraser),
        "repair": RepairTask(relational, new_check, repairer),
        "rebuild": rebuild,
        "compact": rebuild,
        "unpack": UnpackTask(relational, files, signal, settings.max_upload_bytes, settings.max_archive_bytes),
        "source": SourceTask(relational, files, open_reader, signal, settings.max_upload_bytes),
    }
    lane_settings = LaneSettings(settings.job_max_attempts, settings.job_lease_seconds, settings.job_step_seconds)
    workers = tuple(LaneWorker(lane, relational, tasks, signal, lane_settings, release_freed_memory) for lane in Lane)
    search = SearchService(relational, vectors, graph, embedder)
    rates = Rates(Rate.parse(settings.rate_limit), Rate.parse(settings.ask_rate_limit))

    def close() -> None:
        search.close()
        extractor.close()
        stores.close()
        if stop_tracing:
            stop_tracing()

    return Application(
        settings=settings,
        relational=relational,
        files=files,
        signal=signal,
        workers=workers,
        doorkeeper=Doorkeeper(relational, InMemoryRateLimiter(), rates, shared=settings.database_url is not None),
        reaper=Reaper(relational, _chores(settings, purging=vectors.purges and graph.purges)),
        search=search,
        chat=ChatService(relational, search, ExtractiveAgent(embedder)),
        graph=GraphService(relational, graph),
        integrity=IntegrityService(new_check),
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


def _source_readers(settings: Settings, read_feed: ReadFeed) -> Callable[[Source], SourceReader]:
    """What opens a source of any kind; each kind's library is loaded when one is first read."""
    from pegasus.adapters.guarded_dialer import GuardedDialer

    dialer, most = GuardedDialer(settings.allowed_hosts), settings.max_upload_bytes

    def open_reader(source: Source) -> SourceReader:
        origin = sources.origin_of(source)
        match origin:
            case sources.FolderOrigin():
                from pegasus.adapters.folder_source import FolderReader

                return FolderReader(Path(origin.path), origin.include, origin.exclude, settings.data)
            case sources.BucketOrigin():
                from pegasus.adapters.bucket_source import BucketReader

                secrets = None
                if origin.access_key_id_secret and origin.secret_access_key_secret:
                    secrets = _secret(origin.access_key_id_secret), _secret(origin.secret_access_key_secret)
                return BucketReader(
                    dialer, origin.bucket, origin.prefix, origin.endpoint, origin.region, secrets, most
                )  # fmt: skip
            case sources.MailboxOrigin():
                from pegasus.adapters.imap_source import ImapReader

                return ImapReader(
                    dialer, origin.host, origin.port, origin.user, _secret(origin.password_secret), origin.folder,
                    most, tls=origin.tls,
                )  # fmt: skip
            case sources.MboxOrigin():
                from pegasus.adapters.mbox_source import MboxReader

                return MboxReader(Path(origin.path), most)
            case sources.ChatOrigin():
                from pegasus.adapters.chat_source import ChatReader

                return ChatReader(Path(origin.path), most)
        from pegasus.adapters.http_fetcher import HttpFetcher

        fetcher = HttpFetcher(dialer)
        if isinstance(origin, sources.FeedOrigin):
            from pegasus.adapters.feed_source import FeedReader

            return FeedReader(fetcher, origin.url, read_feed)
        from pegasus.adapters.page_source import PageReader

        page = PageReader(fetcher, origin.url, most)
        if isinstance(origin, sources.SitemapOrigin):
            from pegasus.adapters.sitemap_source import SitemapReader

            return SitemapReader(fetcher, page, origin.url, origin.max_pages)
        return page

    return open_reader


def _secret(name: str) -> str:
    """A secret that a source names. Raises ``Misconfigured`` where the environment does not have it."""
    value = os.environ.get(name)
    if not value:
        raise Misconfigured(f"The environment has no {name}, which a source needs.", hint="Set it for the server.")
    return value


def _chores(settings: Settings, *, purging: bool) -> list[Chore]:
    retention_seconds = settings.job_retention_days * 86_400
    chores = [
        Chore("jobs left behind", 30, lambda tx: jobs.tidy(tx, time.time(), settings.job_lease_seconds)),
        Chore("finished jobs", 3_600, lambda tx: jobs.delete_finished(tx, time.time() - retention_seconds)),
        Chore("idempotency replies", 3_600, access.forget_old_replies),
    ]
    # Where a server keeps its files, a compaction would purge nothing and be due again the next day.
    if purging and (compact_after_seconds := settings.compact_after_hours * 3_600):
        chores.append(Chore("compaction", 600, lambda tx: compact_when_due(tx, compact_after_seconds)))
    return chores


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
    # Elsewhere than in the data directory they are left for ``pegasus check`` to tell: that place may be another
    # installation's, named by mistake.
    swept = 0 if application.settings.files else _sweep_files(application.relational, application.files)
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
            access.make_operator(tx, kept)
            return LocalAccess(workspace_id, kept)
        key, secret = access.create_key(tx, workspace_id, "local", scope=Scope.OPERATOR)
        access.note(tx, None, "key.created", key.id, workspace_id=workspace_id)
    # After the commit, and in one step: a file is never there without the key that it has, or half written.
    temporary = directory / f"{KEY_FILE}.new"
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secret + "\n")
    temporary.replace(file)
    return LocalAccess(workspace_id, secret)
