"""The composition root: settings in, a running application out. The only module that knows the adapters."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
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
from pegasus.errors import Conflict, Misconfigured, NotFound, PegasusError, Unavailable
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
from pegasus.jobs.dispatcher import Dispatcher, publishing_what_is_due
from pegasus.jobs.protection import protecting
from pegasus.jobs.reaper import Chore, Reaper, in_transaction
from pegasus.jobs.runner import InProcessSignal, LaneSettings, LaneWorker, Task
from pegasus.jobs.worker import SHARED_BATCH
from pegasus.memory import limit_arenas, release_freed_memory
from pegasus.migrations import HEAD, plan
from pegasus.ports import (
    Cache,
    Embedder,
    FileStore,
    GraphStore,
    JobQueue,
    JobSignal,
    Progress,
    RateLimiter,
    RelationalStore,
    SourceReader,
    VectorStore,
)
from pegasus.rounds import Rounds
from pegasus.search.questions import Questions
from pegasus.search.service import SearchService
from pegasus.settings import Settings
from pegasus.sources import schemas as sources
from pegasus.sources.scheduler import scheduling
from pegasus.sources.tasks import SourceTask
from pegasus.store_urls import Bucket, GraphServer, RedisAddress, VectorServer
from pegasus.text.entities import find_mentions
from pegasus.text.feed import ReadFeed
from pegasus.time_limits import TimedChecks
from pegasus.uploads import service as uploads

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pegasus.integrity.archive import Manifest
    from pegasus.integrity.drill import Drill
    from pegasus.integrity.encryption import Opened
    from pegasus.integrity.restore import Restored

log = structlog.get_logger(__name__)

# Below the 10 s that container engines grant by default.
_STOP_SECONDS = 7.0
# A look takes milliseconds, unless a server keeps it waiting; a chore may delete very much.
_LONGEST_LOOK_SECONDS, _LONGEST_CHORE_SECONDS = 300.0, 1_800.0
_ROWS_FILE = "pegasus.sqlite3"


class Role(StrEnum):
    """What a process does that shares its stores with others."""

    API = "api"
    WORKER = "worker"
    SCHEDULER = "scheduler"
    COMMAND = "command"  # Serves one command of its own.


@contextmanager
def embedded(settings: Settings, *, scheduled: bool = False) -> Iterator[Application]:
    """The whole of Pegasus in this process, with its workers running: on the stores of the data directory, and on the
    servers that the settings name in place of some of them.

    ``scheduled``: sources run by themselves, which is not for a process that lives for one command.
    """
    if settings.broker:
        # It would take back what the others' workers have in hand.
        raise Misconfigured(
            "REDIS_URL says that these stores are shared by pegasus api, worker and scheduler, and a process that does"
            " everything wants them for itself.",
            hint="Start those, or unset REDIS_URL.",
        )
    with data_directory(settings.data) as directory:
        application = build(settings, directory)
        try:
            _recover(application)
            for worker in application.workers:
                worker.start()
            application.reaper.start()
            release_freed_memory()
            with _scheduling(application, application.signal) if scheduled else nullcontext():
                yield application
        finally:
            _stop(application)


def _stop(application: Application) -> None:
    """Finish what is in hand within ``_STOP_SECONDS`` all told, then close the stores."""
    in_time = _drain(application, _STOP_SECONDS)
    application.close()
    if not in_time:
        # Closing has cut off the file that was being read; its worker now hands the job back.
        log.warning("bootstrap.stopped_late", seconds=_STOP_SECONDS)


def _drain(application: Application, seconds: float) -> bool:
    """Begin nothing more, and wait for what is in hand; whether it was finished in time."""
    application.stopping.set()
    application.reaper.ask_to_stop()
    for worker in application.workers:
        worker.ask_to_stop()
    until = time.monotonic() + seconds
    in_time = [worker.join(until - time.monotonic()) for worker in application.workers]
    application.reaper.join(until - time.monotonic())
    return all(in_time)


@contextmanager
def distributed(settings: Settings, role: Role) -> Iterator[Application]:
    """One process of several that share their stores; it keeps nothing but passing files of its own.

    Nothing is taken back at its start: others are at work, and leases alone tell what nobody does any more.
    """
    _need_servers(settings, role)
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="pegasus-") as folder:
        application = build(settings, Path(folder), role)
        with closing(application), _at_work(application, role):
            release_freed_memory()
            yield application


def _need_servers(settings: Settings, role: Role) -> None:
    wanted = (
        ("DATABASE_URL", settings.database_url, "rows in a file are for one process"),
        ("REDIS_URL", settings.redis_url, "workers are told through it that there is work"),
        ("PEGASUS_VECTORS_URL", settings.vectors_url, "two processes on one Chroma directory lose embeddings silently"),
        ("PEGASUS_GRAPH_URL", settings.graph_url, "a graph in a file is for one process"),
        ("PEGASUS_FILES_URL", settings.files_url, "what one process stores the others read: a bucket or shared folder"),
    )
    if missing := [f"{name} ({why})" for name, given, why in wanted if not given]:
        raise Misconfigured(
            f"pegasus {role} shares its stores with other processes and lacks {'; '.join(missing)}.",
            hint="Set what is missing, or run everything in one process: pegasus up",
        )
    _need("celery", "REDIS_URL", "server")


@contextmanager
def _at_work(application: Application, role: Role) -> Iterator[None]:
    """All that a role does by itself, for the length of the block; then what is in hand is finished or handed back."""
    settings, queue, signal = application.settings, application.queue, application.signal
    if queue is None or not isinstance(signal, Dispatcher):
        raise TypeError("a process of several needs a queue")
    _check_connections(application)
    with suppress(Unavailable):  # Without a broker what is accepted waits, and starts when it is back.
        queue.ping()
    with application.relational.write() as tx:
        access.ensure_workspace(tx)  # From its first start on an installation has one.
    with ExitStack() as running:
        running.enter_context(signal.running())
        match role:
            case Role.API | Role.COMMAND:
                if settings.operator_key:
                    with application.relational.write() as tx:
                        access.ensure_operator_key(tx, settings.operator_key.get_secret_value())
            case Role.WORKER:
                if agent := os.environ.get("ECS_AGENT_URI"):
                    from pegasus.adapters.ecs_protection import EcsScaleInProtection

                    is_busy = partial(_any_busy, application.workers)
                    running.enter_context(protecting(EcsScaleInProtection(agent), is_busy))
                for worker in application.workers:
                    worker.start()
                running.callback(_hand_back, application)
                running.enter_context(queue.consume(list(settings.slots), application.wakes.notify))
            case Role.SCHEDULER:
                application.reaper.start()
                running.callback(_drain, application, _STOP_SECONDS)
                running.enter_context(_scheduling(application, signal))
                beat = application.rounds.beat_of("messages", _LONGEST_LOOK_SECONDS)
                running.enter_context(publishing_what_is_due(application.relational, queue, beat))
        yield


def _scheduling(application: Application, signal: JobSignal) -> AbstractContextManager[None]:
    beat = application.rounds.beat_of("sources", _LONGEST_LOOK_SECONDS)
    return scheduling(application.relational, signal, beat)


def _check_connections(application: Application) -> None:
    """Raises ``Misconfigured`` where PostgreSQL has fewer connections than the processes would take."""
    budget, processes = application.relational.connection_budget(), application.settings.expected_processes
    # A pooler's own limits cannot be asked for, and it makes few connections of many.
    if budget is None or budget.suffices(processes):
        return
    raise Misconfigured(
        f"{processes} processes with {budget.each} connections each need {budget.each * processes}, and PostgreSQL has"
        f" {budget.available} for them.",
        hint="Lower PEGASUS_DATABASE_CONNECTIONS or PEGASUS_EXPECTED_PROCESSES, raise max_connections, or put a pooler"
        " such as PgBouncer between.",
    )


def _any_busy(workers: tuple[LaneWorker, ...]) -> bool:
    return any(worker.is_busy for worker in workers)


def _hand_back(application: Application) -> None:
    """Finish what is in hand; what takes longer than there is time others start at once, not after its lease."""
    if _drain(application, application.settings.drain_seconds):
        return
    for worker in application.workers:
        if worker.alive:
            try:
                jobs_left = worker.hand_back()
            except PegasusError as error:  # The leases end by themselves.
                log.warning("bootstrap.not_handed_back", lane=worker.lane, detail=error.detail)
            else:
                log.warning("bootstrap.handed_back", lane=worker.lane, jobs=jobs_left)
                application.signal.notify(worker.lane)
            worker.leave()


def open_stores(settings: Settings, directory: Path, revision: str | None = HEAD) -> Stores:
    """The stores that the settings name, the others in a directory, made where they are missing; with the schema at a
    revision, or with None as it is, if this code runs on it. Raises ``Misconfigured``."""
    with ExitStack() as opened:
        files = _open_files(settings.files, directory, direct=settings.direct_uploads)
        relational = opened.enter_context(closing(_open_relational(directory, database_of(settings))))
        if revision:
            relational.migrate(revision)
        else:
            plan.require(relational)
        vectors = opened.enter_context(closing(_open_vectors(settings.vector_server, directory)))
        graph = opened.enter_context(closing(_open_graph(settings.graph_server, directory)))
        opened.pop_all()
        return Stores(relational, vectors, graph, files)


def _open_files(place: Bucket | Path | None, directory: Path, *, direct: bool = False) -> FileStore:
    if isinstance(place, Bucket):
        from pegasus.adapters.s3_files import S3FileStore
        from pegasus.adapters.s3_signature import S3Signatures

        # Without botocore, which knows how to sign, the API takes what clients would else send by themselves.
        direct = direct and importlib.util.find_spec("botocore") is not None
        return S3FileStore(
            place.name, place.prefix, region=place.region, endpoint=place.endpoint,
            sign=S3Signatures() if direct else None,
        )  # fmt: skip
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

        return ChromaServerVectorStore(server.url, server.database)
    _need("chromadb", "A data directory with vectors", "embedded", "set PEGASUS_VECTORS_URL")
    from pegasus.adapters.chroma import ChromaVectorStore

    return ChromaVectorStore(directory / "vectors")


def _open_graph(server: GraphServer | None, directory: Path) -> GraphStore:
    if server is None:
        _need("ladybug", "A data directory with a graph", "embedded", "set PEGASUS_GRAPH_URL")
        from pegasus.adapters.ladybug import LadybugGraphStore

        return LadybugGraphStore(directory / "graph.ladybug")
    _need("neo4j", "PEGASUS_GRAPH_URL", "server")
    from pegasus.adapters.bolt import BoltGraphStore

    if server.region:
        _need("botocore", "PEGASUS_GRAPH_URL with auth=sigv4", "server")
        from pegasus.adapters.neptune_signature import NeptuneSignatures

        signatures = NeptuneSignatures(server.host, server.region).auth_manager()
        return BoltGraphStore(server.address, signatures, neptune=True)
    auth = (server.user, server.password or "") if server.user else None
    return BoltGraphStore(server.address, auth, database=server.database)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What processes share where there is a Redis, and else have each for itself."""

    limiter: RateLimiter
    cache: Cache | None = None
    checks: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


def _open_shared(server: RedisAddress | None) -> _Shared:
    from pegasus.adapters.memory_limiter import InMemoryRateLimiter

    if server is None:
        return _Shared(InMemoryRateLimiter())
    _need("redis", "PEGASUS_CACHE_URL", "server")
    from pegasus.adapters.redis_cache import RedisCache
    from pegasus.adapters.redis_connection import RedisConnection
    from pegasus.adapters.redis_limiter import RedisRateLimiter

    redis = RedisConnection(
        server.host, server.port, user=server.user, password=server.password, tls=server.tls,
        database=server.database, cluster=server.cluster,
    )  # fmt: skip
    limiter = RedisRateLimiter(redis, otherwise=InMemoryRateLimiter())
    return _Shared(limiter, RedisCache(redis), {"cache": redis.check}, redis.close)


def _need(module: str, what: str, extra: str, otherwise: str = "unset the setting") -> None:
    if importlib.util.find_spec(module) is None:
        raise Misconfigured(
            f"{what} needs {module}, which is not installed.",
            hint=f"Install it: pip install 'pegasus[{extra}]'; or {otherwise}.",
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
    with _rows(directory, database) as relational:
        if database:  # Which others may use as well, of an older version.
            if not relational.tables():
                raise NotFound(
                    "There is nothing in the database yet.",
                    hint="Check DATABASE_URL. A new database gets its tables by: pegasus schema upgrade",
                )
            plan.require(relational)
        else:
            relational.migrate(HEAD)
        yield relational, _open_files(files, directory)


def make_roles(settings: Settings, logins: Sequence[str], owner: str) -> dict[str, object]:
    """What DATABASE_URL logs in with, made by the administrator of its server."""
    if not settings.database_url or not settings.database_admin_user or not settings.database_admin_password:
        raise Misconfigured(
            "Roles are made in PostgreSQL, by its administrator.",
            hint="Set DATABASE_URL, PEGASUS_DATABASE_ADMIN_USER and PEGASUS_DATABASE_ADMIN_PASSWORD.",
        )
    from pegasus.adapters import postgres_roles

    admin, password = settings.database_admin_user, settings.database_admin_password.get_secret_value()
    return postgres_roles.make_roles(settings.database_url.get_secret_value(), admin, password, logins, owner).as_dict()


def rows(settings: Settings) -> AbstractContextManager[RelationalStore]:
    """The rows alone, their schema left as it is. Raises ``NotFound`` where there are none."""
    return _rows(settings.data, database_of(settings))


@contextmanager
def _rows(directory: Path, database: Database | None) -> Iterator[RelationalStore]:
    if not database and not (directory / _ROWS_FILE).is_file():
        raise NotFound(f"There is nothing in {directory} yet.", hint="Give another directory with --data.")
    with closing(_open_relational(directory, database)) as relational:
        yield relational


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


def build(settings: Settings, directory: Path, role: Role | None = None) -> Application:
    """Open the stores and put the services on them; nothing runs yet.

    ``role``: None is for a process that does everything, and brings the schema forward. Of several processes none does:
    others, of an older version, may be at work.
    """
    from pegasus.adapters.extractive import ExtractiveAgent
    from pegasus.adapters.kreuzberg import KreuzbergTextExtractor

    limit_arenas()
    stores = open_stores(settings, directory, None if role else HEAD)
    relational, vectors, graph, files = stores.relational, stores.vectors, stores.graph, stores.files
    try:
        _refuse_lost_rows(stores)
    except BaseException:
        stores.close()
        raise
    stop_tracing = tracing.start(settings.otlp_endpoint, settings.trace_ratio) if settings.otlp_endpoint else None
    if graph.lost_its_end:
        log.warning("bootstrap.graph_lost_its_end", next="It is made anew from the rows, by a job.")
        with relational.write() as tx:
            enqueue_rebuild(tx, access.ensure_workspace(tx), [GRAPH])
    extractor = KreuzbergTextExtractor(
        timeout_seconds=settings.parse_timeout_seconds, memory_bytes=settings.parse_memory_bytes
    )
    embedder = _embedder(settings)
    queue = _open_queue(settings) if role else None
    slots = {None: dict.fromkeys(Lane, 1), Role.WORKER: settings.slots}.get(role, {})
    # Where a scheduler sees to what was lost, nobody has to look by themselves.
    wakes = InProcessSignal(slots, None) if queue else InProcessSignal()
    signal = Dispatcher(queue) if queue else wakes
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
    lane_settings = LaneSettings(
        settings.job_max_attempts, settings.job_lease_seconds, settings.job_step_seconds,
        settings.job_patience_hours * 3_600,
    )  # fmt: skip
    if role:
        lane_settings = replace(lane_settings, batch=SHARED_BATCH)
    workers = tuple(
        LaneWorker(lane, relational, tasks, wakes, lane_settings, release_freed_memory)
        for lane, number in slots.items()
        for _ in range(number)
    )
    shared = _open_shared(settings.cache_server)
    search = SearchService(relational, vectors, graph, Questions(embedder, shared.cache))
    checks: dict[str, Callable[[], None]] = {"relational": partial(_check_rows, relational)}
    if role is not Role.SCHEDULER:
        checks |= {"vectors": vectors.ping, "graph": graph.ping, "files": files.ping, "search": search.check}
    if workers:
        checks["workers"] = _all_at_work(workers)
    rounds = Rounds()
    if role is Role.SCHEDULER:
        checks["rounds"] = rounds.check
    # The API accepts without a broker: it must not be taken out of service for that.
    if queue and role in (Role.WORKER, Role.SCHEDULER):
        checks["broker"] = queue.ping
    rates = Rates(Rate.parse(settings.rate_limit), Rate.parse(settings.ask_rate_limit))

    timed, optional = TimedChecks(checks), TimedChecks(shared.checks)

    def close() -> None:
        timed.close()
        optional.close()
        search.close()
        shared.close()
        extractor.close()
        if queue:
            queue.close()
        stores.close()
        if stop_tracing:
            stop_tracing()

    return Application(
        settings=settings,
        relational=relational,
        files=files,
        signal=signal,
        workers=workers,
        doorkeeper=Doorkeeper(
            relational, shared.limiter, rates, shared=role is not None or settings.database_url is not None
        ),
        reaper=Reaper(
            relational,
            _chores(settings, files, purging=vectors.purges and graph.purges),
            rounds.beat_of("chores", _LONGEST_CHORE_SECONDS),
        ),
        rounds=rounds,
        search=search,
        chat=ChatService(relational, search, ExtractiveAgent(embedder)),
        graph=GraphService(relational, graph),
        integrity=IntegrityService(new_check, relational.connection_budget),
        checks=timed,
        wakes=wakes,
        queue=queue,
        close=close,
        optional=optional,
    )


def _open_queue(settings: Settings) -> JobQueue:
    from pegasus.adapters.celery_queue import CeleryJobQueue

    if settings.broker is None:
        raise Misconfigured("There is no broker.", hint="Set REDIS_URL.")
    return CeleryJobQueue(settings.broker)


def _refuse_lost_rows(stores: Stores) -> None:
    """Rows that are gone must not be taken for a first start: whatever the other stores hold would be lost without a
    word, in their sight. Raises ``Misconfigured``."""
    with stores.relational.read() as tx:
        if access.any_workspace(tx):
            return
    holding: Mapping[str, Callable[[], bool]] = {
        "vectors": stores.vectors.holds_anything,
        "graph": stores.graph.holds_anything,
        "files": lambda: any(True for _ in stores.files.stored_keys()),
    }
    full = []
    for name, holds_anything in holding.items():
        try:
            if holds_anything():
                full.append(name)
        except Unavailable as error:
            log.warning("bootstrap.not_looked_at", store=name, error=error.detail)
    if full:
        raise Misconfigured(
            f"There are no rows, but {' and '.join(full)} still hold documents: the rows were lost, or are elsewhere.",
            hint="Restore the database from its backup, or mend DATABASE_URL, --data or the URLs of the other stores."
            " To begin anew, empty those first.",
        )


def _check_rows(relational: RelationalStore) -> None:
    relational.ping()
    with relational.read() as tx:
        access.check_installed(tx)


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


def _chores(settings: Settings, files: FileStore, *, purging: bool) -> list[Chore]:
    retention_seconds = settings.job_retention_days * 86_400
    chores = [
        Chore(
            "jobs left behind", 30,
            in_transaction(lambda tx: jobs.tidy(tx, time.time(), settings.job_lease_seconds)),
        ),
        Chore(
            "finished jobs", 3_600,
            in_transaction(lambda tx: jobs.delete_finished(tx, time.time() - retention_seconds)),
        ),
        Chore("idempotency replies", 3_600, in_transaction(access.forget_old_replies)),
        Chore("uploads", 3_600, lambda relational: uploads.tidy(relational, files)),
    ]  # fmt: skip
    # Where a server keeps its files, a compaction would purge nothing and be due again the next day.
    if purging and (compact_after_seconds := settings.compact_after_hours * 3_600):
        chores.append(Chore("compaction", 600, in_transaction(lambda tx: compact_when_due(tx, compact_after_seconds))))
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
    # Where files or rows are elsewhere than in the data directory they are left for ``pegasus check`` to tell: that
    # place may be another installation's, named by mistake.
    elsewhere = application.settings.files or application.settings.database_url
    swept = 0 if elsewhere else _sweep_files(application.relational, application.files)
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
