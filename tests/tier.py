"""The tier that the tests run on: all in the data directory or, with PEGASUS_TEST_TIER=server, all in servers.

There each data directory that a test makes gets a place of its own in every server: a database, a prefix. Its settings
name them, as an operator's would, in the tests' own process as in those that they start.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from postgresql import PostgresServer
from redis_server import RedisServer
from servers import (
    ACCESS_KEY_ID,
    PASSWORD,
    REGION,
    SECRET_ACCESS_KEY,
    BoltServer,
    ChromaServer,
    S3Server,
)

from pegasus import settings
from pegasus.bootstrap import open_stores
from pegasus.identifiers import new_id
from pegasus.integrity import rebuild
from pegasus.settings import Settings, load_settings

# Of S3, whose adapter takes them from the environment.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}

Environment = dict[str, str]


@dataclass
class ServerTier:
    postgres: PostgresServer
    chroma: ChromaServer
    bolt: BoltServer
    s3: S3Server
    redis: RedisServer
    _places: dict[Path, Environment] = field(default_factory=dict)
    _databases: dict[Path, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def places(self, directory: Path) -> Environment:
        """The settings that name the stores of a data directory, by the names that the environment has for them."""
        with self._lock:
            if directory not in self._places:
                self._make(directory, "template1")
            return self._places[directory]

    def copy(self, source: Path, target: Path) -> None:
        """Places with the rows of others."""
        with self._lock:
            self._make(target, self._databases[source])

    def keep_embedded(self, directory: Path) -> None:
        """Give it no places: it is one machine's."""
        with self._lock:
            self._places[directory] = {}

    def _make(self, directory: Path, template: str) -> None:
        name = self._databases[directory] = self.postgres.create(template)
        place = self.bolt.address.removeprefix("bolt://")
        self._places[directory] = {
            "DATABASE_URL": self.postgres.url(name),
            "PEGASUS_VECTORS_URL": f"{self.chroma.url}/{new_id()}",
            "PEGASUS_GRAPH_URL": f"bolt://root:{quote(PASSWORD)}@{place}/{self.bolt.new_database()}",
            "PEGASUS_FILES_URL": f"s3://{self.s3.bucket}/{new_id()}?region={REGION}&endpoint={self.s3.endpoint}",
            "PEGASUS_CACHE_URL": f"{self.redis.url.removesuffix('/0')}/{next(self._numbers)}",
        }


_tier: ServerTier | None = None


@contextmanager
def running_on(tier: ServerTier) -> Iterator[None]:
    """For the length of the block settings name the servers, unless a test names others."""
    global _tier

    def made(**given: Any) -> Settings:
        names = {_field(name): value for name, value in environment_of(given.get("data")).items()}
        return Settings(**{**names, **given})

    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setattr(settings, "Settings", made)
        _tier = tier
        try:
            yield
        finally:
            _tier = None


def _field(name: str) -> str:
    return name.removeprefix("PEGASUS_").lower()


def environment_of(directory: Path | str | None) -> Environment:
    """What the environment of a process has to name for the stores of this data directory."""
    return _tier.places(Path(directory).absolute()) if _tier and directory else {}


def copied(source: Path, target: Path) -> Path:
    """A copy of an installation that no process has; on the server tier vectors and graph are made from the rows."""
    shutil.copytree(source, target)
    if _tier and environment_of(source):
        _tier.copy(source.absolute(), target.absolute())
        old, new = load_settings(data=source), load_settings(data=target)
        with closing(open_stores(old, source)) as before, closing(open_stores(new, target)) as after:
            for key in before.files.stored_keys():
                with before.files.path(key) as path, path.open("rb") as file:
                    after.files.put_back(key, file)
            rebuild.vectors(after.relational, after.vectors, _silent)
            rebuild.graph(after.relational, after.graph, _silent)
    return target


def one_machine(directory: Path) -> Path:
    """This data directory with its stores in it, on the server tier as well: what a backup is restored into."""
    if _tier:
        _tier.keep_embedded(directory.absolute())
    return directory


def _silent(_what: str, _done: int, _total: int) -> None: ...
