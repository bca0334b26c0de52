"""Wake-ups through Celery on a Redis that is not in cluster mode. The message is all that Celery carries: what there is
to do, and who does it, is in the rows of jobs.

A message is one lane's name in JSON. It is taken without acknowledgement, there are no results, and a worker's only
Celery task sets off a thread that claims jobs: so there is nothing that a second delivery, a visibility timeout or a
worker that was killed could do twice.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import structlog
from celery import Celery
from celery.exceptions import CeleryError
from celery.worker import WorkController
from celery.worker import state as celery_state
from celery.worker.consumer import Consumer
from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from pegasus.domain import Lane
from pegasus.errors import Misconfigured, Unavailable
from pegasus.ports import QueueLength
from pegasus.store_urls import RedisAddress

log = structlog.get_logger(__name__)

_TASK, _PREFIX = "pegasus.wake", "pegasus:"
# What kombu and redis-py let out while a broker is away, comes back, fails over or is read-only.
_AWAY = (OSError, RedisError, KombuError, CeleryError)
_REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)
_SOCKET_SECONDS, _LONGEST_RETRY_SECONDS, _STOP_SECONDS, _RESTART_SECONDS = 5.0, 5, 15.0, 1.0
_VISIBILITY_SECONDS = 300


class CeleryJobQueue:
    def __init__(self, broker: RedisAddress) -> None:
        self._app = Celery("pegasus", set_as_current=False)
        self._app.conf.update(_configuration(broker))
        self._place = f"{broker.host}:{broker.port}"
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        # Celery tells all it does to logging; what is worth telling is logged here.
        for name in ("celery", "kombu"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def publish(self, lane: str) -> None:
        with self._connected() as connection, self._app.amqp.Producer(connection, auto_declare=False) as producer:
            self._app.send_task(_TASK, [lane], queue=lane, producer=producer, declare=[], retry=False)

    @contextmanager
    def consume(self, lanes: Sequence[str], wake: Callable[[str], None]) -> Iterator[None]:
        @self._app.task(name=_TASK, shared=False)  # type: ignore[untyped-decorator]
        def woken(lane: str) -> None:
            wake(lane)

        stopping = threading.Event()
        thread = threading.Thread(target=self._consume, args=(list(lanes), stopping), name="celery", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            celery_state.should_stop = 0
            thread.join(_STOP_SECONDS)
            celery_state.should_stop = None

    def _consume(self, lanes: list[str], stopping: threading.Event) -> None:
        """Celery's worker tries for ever to connect again; should it ever end all the same, there is another."""
        self._app.set_current()  # In this thread: Celery looks for a task's code in the current app.
        while not stopping.is_set():
            try:
                worker = WorkController(
                    app=self._app, queues=lanes, pool="solo", concurrency=1, consumer_cls=_Consumer,
                    without_mingle=True, without_gossip=True, without_heartbeat=True,
                )  # fmt: skip
                worker.start()
            except Exception as error:  # noqa: BLE001 - whatever it was, a process that hears nothing helps nobody.
                log.warning("queue.consumer_failed", broker=self._place, error=repr(error))
            stopping.wait(_RESTART_SECONDS)

    def lengths(self, lanes: Sequence[str]) -> dict[str, QueueLength]:
        with self._connected() as connection:
            channel = connection.default_channel
            # The sum of all the lists of a queue: kombu keeps one for each priority.
            waiting = {lane: channel.queue_declare(lane).message_count for lane in lanes}
            held = [json.loads(value) for value in channel.client.hvals(_PREFIX + channel.unacked_key)]
        out = [(routing_key, bool(message["headers"].get("eta"))) for message, _, routing_key in held]
        return {
            lane: QueueLength(waiting[lane], sum(at == lane for at, _ in out), out.count((lane, True)))
            for lane in lanes
        }

    def ping(self) -> None:
        with self._connected() as connection:
            connection.default_channel.client.ping()

    def close(self) -> None:
        with self._lock:
            self._drop()
        self._app.close()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """The one connection that is not a consumer's, by turns. It is made anew after each failure: a pool of
        producers that was closed at the first one would refuse for good."""
        with self._lock, self._told():
            try:
                if self._connection is None:
                    self._connection = self._app.connection_for_write()
                    self._connection.connect()
                    _refuse_cluster(self._connection.default_channel.client, self._place)
                yield self._connection
            except BaseException:
                self._drop()
                raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*_AWAY):
                connection.release()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            text = (str(error) or type(error).__name__).rstrip(".")
            if isinstance(error, _REFUSALS) or "DB index is out of range" in text:
                raise Misconfigured(
                    f"Redis at {self._place} refuses: {text}.",
                    hint="Mend REDIS_URL. Special characters of a password are written as %-codes in it.",
                ) from error
            raise Unavailable(
                f"The broker, Redis at {self._place}, cannot be reached: {text}.",
                hint="Is it running, is REDIS_URL right? What was accepted waits in the database and starts by itself.",
            ) from error


def _refuse_cluster(client: Any, place: str) -> None:
    try:
        enabled = client.info("cluster").get("cluster_enabled")
    except ResponseError:  # Not every user may ask for it. A cluster then refuses to select a database or to move keys.
        return
    if enabled:
        raise Misconfigured(
            f"Redis at {place} is in cluster mode, which cannot carry messages: Celery's commands take several keys at"
            " a time, and a cluster keeps these on different nodes.",
            hint="Name a Redis with cluster mode disabled in REDIS_URL. In cluster mode one can be the cache.",
        )


class _Consumer(Consumer):  # type: ignore[misc]
    def ensure_connected(self, conn: Connection) -> Any:
        # By itself Celery waits for up to half a minute before it looks again.
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=1, interval_max=_LONGEST_RETRY_SECONDS)
        return super().ensure_connected(conn)


def _url(broker: RedisAddress) -> str:
    credentials = f"{quote(broker.user or '', safe='')}:{quote(broker.password, safe='')}@" if broker.password else ""
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    return f"redis{'s' if broker.tls else ''}://{credentials}{host}:{broker.port}/{broker.database}"


def _configuration(broker: RedisAddress) -> dict[str, Any]:
    verified = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, "ssl_ca_certs": broker.authorities}
    return {
        "broker_url": _url(broker),
        "broker_use_ssl": verified if broker.tls else None,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": _SOCKET_SECONDS,
        "broker_transport_options": {
            # All keys begin so: other programs may use the same database, and an ACL may allow ~pegasus:* alone.
            "global_keyprefix": _PREFIX,
            "visibility_timeout": _VISIBILITY_SECONDS,
            "socket_timeout": _SOCKET_SECONDS,
            "socket_connect_timeout": _SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": False,
        # To the queue itself: a binding in Redis, which FLUSHALL takes away, is never asked. Taken without
        # acknowledgement: one that a dying broker did not hear would count against the prefetch for ever, and its
        # consumer would ask for nothing more and so never notice that its connection is gone.
        "task_queues": [Queue(lane, Exchange(""), routing_key=lane, no_ack=True) for lane in Lane],
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }
