"""Where the stores of the server tier are, as their settings name them. What is wrong is told without the secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_BOLT_PORT, _REDIS_PORT = 7687, 6379
# What Chroma allows (its answer to any other says so).
_CHROMA_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{1,510}[A-Za-z0-9]"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class VectorServer:
    url: str  # http(s)://host:port
    database: str | None = None

    @classmethod
    def parse(cls, value: str) -> VectorServer:
        """Raises ``ValueError``, as the others do, with the form that is asked for."""
        parts = _split(value, ("http", "https"), "http://host:port/database")
        database = parts.path.strip("/")
        if parts.username or parts.password or parts.query or not re.fullmatch(_CHROMA_NAME, database or "default"):
            raise ValueError(
                "a Chroma server is named as http://host:port or http://host:port/database, without a user or"
                " parameters; a database has 3 to 512 letters of A to Z and a to z, digits and ._-"
            )
        return cls(f"{parts.scheme}://{_place(parts, 443 if parts.scheme == 'https' else 8000)}", database or None)


@dataclass(frozen=True, slots=True)
class GraphServer:
    address: str  # scheme://host:port
    host: str  # host:port
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    region: str | None = None  # Of Neptune, which is asked with signatures instead of a password.

    @classmethod
    def parse(cls, value: str) -> GraphServer:
        form = "bolt://user:password@host:7687/database, or bolt+s://host:8182?auth=sigv4&region=... for Neptune"
        schemes = [f"{name}{tls}" for name in ("bolt", "neo4j") for tls in ("", "+s", "+ssc")]
        parts = _split(value, schemes, form)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        region = given.pop("region", None)
        auth = given.pop("auth", None)
        if given:
            raise ValueError(f"{', '.join(map(repr, given))} is no parameter of it; the form is {form}")
        place = _place(parts, _BOLT_PORT)
        address, database = f"{parts.scheme}://{place}", parts.path.strip("/") or None
        if auth is None and region is None:
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            return cls(address, place, user or None, password or None, database)
        if auth != "sigv4" or not region or parts.username or database:
            raise ValueError("Neptune is named as bolt+s://host:8182?auth=sigv4&region=..., without user and database")
        # A signature may be used again for five minutes by whoever sees it.
        if parts.scheme != "bolt+s" and (parts.scheme != "bolt" or parts.hostname not in _LOOPBACK):
            raise ValueError("Neptune is reached over TLS alone: bolt+s://")
        return cls(address, place, region=region)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    host: str
    port: int = _REDIS_PORT
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    cluster: bool = False
    authorities: str | None = None  # A file with certificates to trust instead of the machine's.

    @classmethod
    def parse(cls, value: str) -> RedisAddress:
        form = (
            "redis://user:password@host:6379/0, rediss:// for TLS, with ?ssl_ca_certs=/path where needed, and"
            " ?cluster=true for a cluster"
        )
        parts = _split(value, ("redis", "rediss"), form)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        cluster, authorities = given.pop("cluster", "false"), given.pop("ssl_ca_certs", None)
        tls = parts.scheme == "rediss"
        if given or cluster not in ("true", "false") or (authorities is not None and not (authorities and tls)):
            raise ValueError(f"its parameters are cluster=true, and with TLS ssl_ca_certs; the form is {form}")
        database = parts.path.strip("/") or "0"
        if not re.fullmatch(r"[0-9]{1,5}", database):
            raise ValueError(f"a database of Redis is a number; the form is {form}")
        if cluster == "true" and int(database):
            raise ValueError("a cluster has only the database 0")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if user and not password:
            raise ValueError(f"a user needs a password, and a password alone stands after a colon; the form is {form}")
        return cls(
            parts.hostname or "", parts.port or _REDIS_PORT, tls, user or None, password or None, int(database),
            cluster == "true", authorities,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None  # Of a service other than AWS's own

    @classmethod
    def parse(cls, value: str) -> Bucket:
        form = "s3://bucket/prefix, with ?region=... and, for a service other than AWS's, &endpoint=http://host:port"
        parts = _split(value, ("s3",), form)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        region, endpoint = given.pop("region", None), given.pop("endpoint", None)
        if given or parts.username or parts.password or parts.port:
            raise ValueError(f"the form is {form}; credentials are taken from the environment or the role")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.hostname or ""):
            raise ValueError("the bucket's name is not one that S3 allows")
        if endpoint is not None:
            wanted = _split(endpoint, ("http", "https"), "an endpoint such as http://host:port")
            if wanted.username or wanted.password or wanted.query:
                raise ValueError("an endpoint is http(s)://host:port, without user and parameters")
        return cls(parts.hostname or "", parts.path.strip("/"), region, endpoint)


def parse_files(value: str) -> Bucket | Path:
    """A bucket, or a folder: as file:///path or as its plain path."""
    if value.startswith("s3:"):
        return Bucket.parse(value)
    path = value.removeprefix("file://") if value.startswith("file:///") else value
    if ":" in path.partition("/")[0]:
        raise ValueError("original files are in s3://bucket/prefix or in a folder, as /path or file:///path")
    try:
        return Path(unquote(path) if path != value else path).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def _split(value: str, schemes: tuple[str, ...] | list[str], form: str) -> SplitResult:
    try:
        parts = urlsplit(value.strip())
        parts.port  # noqa: B018 - it is what checks the number.
    except ValueError:
        raise ValueError(f"it is no URL; the form is {form}") from None  # Its own words may have the password in them.
    if parts.scheme not in schemes or not parts.hostname or parts.fragment:
        raise ValueError(f"the form is {form}")
    return parts


def _place(parts: SplitResult, usual_port: int) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or usual_port}"
