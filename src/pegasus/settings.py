"""Every setting, in one typed object that is validated at start; nothing set means embedded, on this machine.

Settings come from the environment and from one optional file of ``NAME=value`` lines that ``PEGASUS_SETTINGS_FILE``
names. docs/reference/settings.env shows each with its default; a test keeps the two in step.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pegasus.domain import Lane, Rate
from pegasus.errors import Invalid, Misconfigured
from pegasus.store_urls import Bucket, GraphServer, RedisAddress, VectorServer, parse_files

# The server tier's names are a contract already. Until all its adapters are here, silence would mean that somebody who
# set them believes their data to be on a server while it goes to a file.
_SERVER_TIER = (
    "VERTEX_AI_PROJECT_ID", "VERTEX_AI_LOCATION", "VERTEX_AI_AGENT_ENGINE_ID",
)  # fmt: skip

# Names that others gave; all further ones begin with PEGASUS_.
_NOT_OURS = ("DATABASE_URL", "REDIS_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SECRET = (
    "DATABASE_URL", "REDIS_URL", "PEGASUS_KEY", "PEGASUS_OPERATOR_KEY", "PEGASUS_METRICS_TOKEN",
    "PEGASUS_VECTORS_URL", "PEGASUS_GRAPH_URL", "PEGASUS_FILES_URL", "PEGASUS_CACHE_URL",
    "PEGASUS_DATABASE_ADMIN_PASSWORD",
)  # fmt: skip


class Settings(BaseSettings):
    # What a setting got is told by ``_told``, which knows what is secret; a traceback does not.
    model_config = SettingsConfigDict(
        env_prefix="PEGASUS_", extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    data: Path = Field(default=Path("~/.pegasus"), description="The data directory of the embedded stores.")
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL for rows and full text, as postgresql://user:password@host:5432/database; without one "
        "they are in a file of the data directory. It needs the extra pegasus[server].",
    )
    database_connections: int = Field(
        default=8, ge=1, description="Connections to PostgreSQL that one process reads with; half as many more write."
    )
    database_admin_user: str | None = Field(
        default=None,
        description="The administrator of PostgreSQL, for pegasus schema roles alone, which makes what DATABASE_URL"
        " logs in as; no other process should be told of it.",
    )
    database_admin_password: SecretStr | None = Field(default=None, description="That administrator's password.")
    expected_processes: int = Field(
        default=1,
        ge=1,
        description="How many processes of Pegasus share PostgreSQL's connections; one that could not have its own then"
        " does not start.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="The Redis, not in cluster mode, that carries messages between pegasus api, worker and scheduler,"
        " as rediss://user:password@host:6379/0; redis:// is without TLS, ?ssl_ca_certs=/path is whom to trust.",
    )
    vectors_url: SecretStr | None = Field(
        default=None,
        description="A Chroma server for the vectors, as http://host:8000/database, whose database no other"
        " installation uses; it is made when it is missing, and may be left out. None: a directory.",
    )
    graph_url: SecretStr | None = Field(
        default=None,
        description="A server for the graph, whose database no other installation uses: Neo4j as"
        " bolt+s://user:password@host:7687/database, Neptune as bolt+s://host:8182?auth=sigv4&region=eu-west-1; needs"
        " the extra pegasus[server]. None: a file.",
    )
    files_url: SecretStr | None = Field(
        default=None,
        description="Where original files are kept: s3://bucket/prefix?region=eu-west-1, for a service other than AWS's"
        " with &endpoint=http://host:port, or a folder. Credentials are taken from the environment or the role. None: a"
        " folder of the data directory.",
    )
    cache_url: SecretStr | None = Field(
        default=None,
        description="A Redis in which all processes count their rate limits together and share what they cache, as"
        " redis://user:password@host:6379/0, with TLS rediss://, a cluster with ?cluster=true; needs the extra"
        " pegasus[server]. None: each process for itself.",
    )
    host: str = Field(default="127.0.0.1", description="The address to listen on; loopback unless told otherwise.")
    port: int = Field(default=8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe events that are logged."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="text for people, json for programs.")

    max_upload_bytes: int = Field(default=100 * 2**20, ge=1, description="The largest file that is accepted.")
    direct_uploads: bool = Field(
        default=True,
        description="Whether clients send what they announce at /v1/uploads straight into the bucket of"
        " PEGASUS_FILES_URL, which needs the extra pegasus[server]; false where its address is not for them: then the"
        " API takes it, as where there is no bucket.",
    )
    max_text_characters: int = Field(default=20_000_000, ge=1, description="The longest text of one document.")
    max_archive_bytes: int = Field(default=2 * 2**30, ge=1, description="The most that one ZIP may unpack to.")
    parse_timeout_seconds: float = Field(default=60, gt=0, description="How long reading one file may take.")
    parse_memory_bytes: int = Field(default=2 * 2**30, ge=256 * 2**20, description="Memory of the reading process.")

    rate_limit: str = Field(
        default="6000/minute", description="Requests of one key, as 6000/minute; also second, hour, day."
    )
    ask_rate_limit: str = Field(default="600/minute", description="Questions of one key, which cost more.")
    trusted_hosts: str | None = Field(
        default=None,
        description="Names by which the server is reached besides localhost and the address that it listens on, with "
        "commas between them; * is any. Requests under other names are refused.",
    )
    cors_origins: str | None = Field(
        default=None,
        description="Web pages that browsers let call the server, as https://notes.example, with commas between them; "
        "* is any. None: no page of another origin.",
    )
    trusted_proxies: str | None = Field(
        default=None,
        description="Addresses of proxies whose X-Forwarded-For is believed, with commas between them; * is any.",
    )

    embedder: Literal["minilm", "hash"] = Field(
        default="minilm", description="minilm understands meaning; hash only words, for load tests."
    )
    embed_threads: int = Field(
        default=0, ge=0, description="Threads that embed; 0 is one less than the cores, at least one."
    )
    agent: Literal["extractive"] = Field(default="extractive", description="What writes the answers.")
    entities: Literal["rules", "spacy"] = Field(
        default="rules", description="What finds entities; spacy needs the extra pegasus[nlp]."
    )
    job_max_attempts: int = Field(
        default=10,
        ge=1,
        description="After so many attempts a job is dead; most kinds of faults get fewer.",
    )
    job_patience_hours: float = Field(
        default=24, ge=0, description="A job that waits for a store which is away for so long is dead."
    )
    job_lease_seconds: float = Field(default=60, gt=0, description="A worker silent for so long has lost its job.")
    job_step_seconds: float = Field(
        default=600, gt=0, description="A step of a job that shows no progress for so long is given up."
    )
    compact_after_hours: float = Field(
        default=24,
        ge=0,
        description="So long after an erasure the stores are written anew, so that no byte of it is left in their free "
        "space; 0 is never, but by hand with pegasus compact.",
    )
    job_retention_days: float = Field(
        default=30, gt=0, description="Jobs that ended so long ago are forgotten; dead letters and erasures never are."
    )

    worker_lanes: str = Field(
        default="read:2,index:1,fetch:2",
        description="What pegasus worker does, and how much of it at a time: read files, index, fetch from sources.",
    )
    drain_seconds: float = Field(
        default=60,
        gt=0,
        le=90,
        description="How long pegasus api and worker go on with what they have in hand when they are stopped. ECS ends"
        " them after 120.",
    )
    linger_seconds: float = Field(
        default=3,
        ge=0,
        le=25,
        description="How long before that pegasus api still takes requests, while /ready sends load balancers away.",
    )
    operator_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="API key of who runs pegasus api, worker and scheduler; it opens everything. Make one with: openssl"
        " rand -hex 32",
    )

    metrics_token: SecretStr | None = Field(
        default=None, min_length=16, description="Bearer token that opens /metrics; without one there is no /metrics."
    )

    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where traces go, over OTLP/gRPC, as http://127.0.0.1:4317; without one none are made."
        " OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are taken from the environment.",
    )
    trace_ratio: float = Field(
        default=0.05, ge=0, le=1, description="The share of requests and jobs that are traced when nobody asks for it."
    )

    source_folders: str | None = Field(
        default=None,
        description="Folders, with commas between them, below which every key may add sources, not only the operator.",
    )
    fetch_allowed_hosts: str | None = Field(
        default=None,
        description="Hosts as name or name:port, with commas between them, that sources may reach although their"
        " addresses are private or their ports unusual.",
    )

    key: str | None = Field(
        default=None, description="API key for the command line; else the local one is found.", repr=False
    )
    url: str | None = Field(default=None, description="Server for the command line; else the local one is found.")

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(str(error)) from error

    @field_validator("rate_limit", "ask_rate_limit")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        try:
            return str(Rate.parse(value))
        except Invalid as error:
            raise ValueError(f"{error.detail} {error.hint}") from error

    @field_validator("trusted_hosts")
    @classmethod
    def _hosts(cls, value: str | None) -> str | None:
        return _each(value, r"\*|[a-z0-9._-]+|\[[0-9a-f:]+\]", "a name such as nas.local, without scheme and port")

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        return _each(value, r"\*|https?://[^/\s]+", "an origin such as https://notes.example, without a path")

    @property
    def further_hosts(self) -> list[str]:
        return [host.strip("[]").lower() for host in _listed(self.trusted_hosts)]

    @property
    def allowed_origins(self) -> list[str]:
        return [origin.lower() for origin in _listed(self.cors_origins)]

    @property
    def open_folders(self) -> list[Path]:
        return [Path(name).expanduser().absolute() for name in _listed(self.source_folders)]

    @property
    def allowed_hosts(self) -> list[str]:
        return _listed(self.fetch_allowed_hosts)

    @field_validator("database_url")
    @classmethod
    def _of_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("it is not an address such as postgresql://user:password@host:5432/database")
        if value and not find_spec("psycopg_pool"):
            raise ValueError("PostgreSQL needs the extra of the server tier: pip install 'pegasus[server]'")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _of_http(cls, value: str | None) -> str | None:
        if value and not re.fullmatch(r"https?://[^/@\s]+/?", value):
            raise ValueError("it is not an address such as http://127.0.0.1:4317")
        return value

    @field_validator(
        "otlp_endpoint", "metrics_token", "operator_key", "database_url", "redis_url", "vectors_url", "graph_url",
        "files_url", "cache_url", "database_admin_user", "database_admin_password", mode="before",
    )  # fmt: skip
    @classmethod
    def _none_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and RedisAddress.parse(value.get_secret_value()).cluster:
            raise ValueError(
                "a Redis in cluster mode cannot carry messages: Celery's commands take several keys at a time; name one"
                " with cluster mode disabled, and use the cluster as PEGASUS_CACHE_URL"
            )
        return value

    @field_validator("worker_lanes")
    @classmethod
    def _lanes(cls, value: str) -> str:
        _slots(value)
        return value

    @field_validator("vectors_url")
    @classmethod
    def _vectors(cls, value: SecretStr | None) -> SecretStr | None:
        return _parsed(value, VectorServer.parse)

    @field_validator("graph_url")
    @classmethod
    def _graph(cls, value: SecretStr | None) -> SecretStr | None:
        return _parsed(value, GraphServer.parse)

    @field_validator("files_url")
    @classmethod
    def _files(cls, value: SecretStr | None) -> SecretStr | None:
        return _parsed(value, parse_files)

    @field_validator("cache_url")
    @classmethod
    def _cache(cls, value: SecretStr | None) -> SecretStr | None:
        return _parsed(value, RedisAddress.parse)

    @property
    def broker(self) -> RedisAddress | None:
        return RedisAddress.parse(self.redis_url.get_secret_value()) if self.redis_url else None

    @property
    def slots(self) -> dict[Lane, int]:
        """How many jobs, or batches of them, a worker has in hand at a time, by lane."""
        return _slots(self.worker_lanes)

    @property
    def vector_server(self) -> VectorServer | None:
        return VectorServer.parse(self.vectors_url.get_secret_value()) if self.vectors_url else None

    @property
    def graph_server(self) -> GraphServer | None:
        return GraphServer.parse(self.graph_url.get_secret_value()) if self.graph_url else None

    @property
    def files(self) -> Bucket | Path | None:
        return parse_files(self.files_url.get_secret_value()) if self.files_url else None

    @property
    def cache_server(self) -> RedisAddress | None:
        return RedisAddress.parse(self.cache_url.get_secret_value()) if self.cache_url else None

    def embedded(self, data: Path) -> Settings:
        """The same, with every store in a directory and nothing shared."""
        servers = ("database_url", "redis_url", "vectors_url", "graph_url", "files_url", "cache_url")
        none = dict.fromkeys(servers)
        return self.model_copy(update={"data": data, **none})

    @property
    def embedding_threads(self) -> int:
        return self.embed_threads or max(1, (os.cpu_count() or 1) - 1)


def _parsed(value: SecretStr | None, parse: Callable[[str], object]) -> SecretStr | None:
    if value:
        parse(value.get_secret_value())
    return value


def _slots(value: str) -> dict[Lane, int]:
    found = {}
    for part in _listed(value):
        lane, _, number = part.partition(":")
        if lane not in list(Lane) or not re.fullmatch("[1-9][0-9]?", number or "1") or lane in found:
            raise ValueError(f"{part[:100]!r} is not a lane with a number from 1 to 99, as in read:2,index:1,fetch:2")
        found[Lane(lane)] = int(number or 1)
    if not found:
        raise ValueError("it names no lane; there are read, index and fetch")
    return found


def _listed(value: str | None) -> list[str]:
    return [part.strip() for part in (value or "").split(",") if part.strip()]


def _each(value: str | None, form: str, what: str) -> str | None:
    for part in _listed(value):
        if not re.fullmatch(form, part.lower()):
            raise ValueError(f"{part[:100]!r} is not {what}")
    return value


def load_settings(**overrides: object) -> Settings:
    """Settings from overrides (those that are not None), the environment and the file, in this order.

    Raises ``Misconfigured`` naming each bad setting, what it got and what it takes.
    """
    file = os.environ.get("PEGASUS_SETTINGS_FILE")
    if file and not Path(file).is_file():
        raise Misconfigured(f"PEGASUS_SETTINGS_FILE names {file}, which is not a file.", hint="Mend the path.")
    try:
        named = {**(dotenv_values(file) if file else {}), **os.environ}
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file} is not a text file in UTF-8: {error}.", hint="Mend or convert it.") from error
    for name in _SERVER_TIER:
        if named.get(name):
            raise Misconfigured(
                f"{name} is set, but this release has no server of that kind.",
                hint=f"Unset {name}, or use a release with the server tier.",
            )
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(_env_file=file, **given)  # type: ignore[call-arg, arg-type]
    except ValidationError as error:
        lines = [_told(dict(one)) for one in error.errors()]
        raise Misconfigured("; ".join(lines), hint="See docs/reference/settings.env for each setting.") from error


def _told(error: dict[str, Any]) -> str:
    """What is wrong with a setting and what it got; a key is never shown."""
    name = "_".join(map(str, error["loc"])).upper()
    name = name if name in _NOT_OURS else f"PEGASUS_{name}"
    got = "" if name in _SECRET else f" (it is {str(error['input'])[:100]!r})"
    return f"{name}: {error['msg']}{got}"
