"""What was deployed: each attempt with its end, and of those that succeeded all that is needed to go back to them.

A version is the templates of all stacks, what was put into them, and the digests of the images. It is kept outside of
the stacks, in the bucket that also holds the lock: it was there before the first stack, and tells of the last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pegasus.errors import Conflict, NotFound
from pegasus_aws import application
from pegasus_aws.clients.objects import Objects
from pegasus_aws.environments import Environment
from pegasus_aws.names import StackName

Outcome = Literal["unfinished", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Digests:
    backend: str
    chroma: str

    def parameters(self, body: str) -> Mapping[str, str]:
        """Those of them that a template asks for."""
        both = {"BackendDigest": self.backend, "ChromaDigest": self.chroma}
        return {name: both[name] for name in json.loads(body).get("Parameters", {})}


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    command: str
    by: str
    began: str
    made_with: str  # The version of Pegasus that made the templates.
    digests: Digests | None  # None until it is known which images it has.
    environment: Mapping[str, Any]
    templates: Mapping[StackName, str]  # SHA-256 of each
    outcome: Outcome = "unfinished"
    ended: str = ""
    cause: str = ""


class History:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def all(self) -> Sequence[Version]:
        """The oldest first."""
        return [self._read(key) for key in self._objects.keys("versions/")]

    def succeeded(self) -> Sequence[Version]:
        return [one for one in self.all() if one.outcome == "succeeded"]

    def last(self) -> Version | None:
        """What runs, as far as is known."""
        return next(reversed(self.succeeded()), None)

    def named(self, number: int) -> Version:
        """Raises ``NotFound``, or ``Conflict`` where that attempt did not succeed."""
        found = next((one for one in self.all() if one.number == number), None)
        if found is None:
            raise NotFound(f"There is no version {number}.", hint="See which there are: pegasus aws history")
        if found.outcome != "succeeded":
            raise Conflict(f"Version {number} has never run: {found.outcome}.", hint="pegasus aws history")
        return found

    def begin(self, command: str, by: str, environment: Environment, bodies: Mapping[StackName, str]) -> Version:
        for body in bodies.values():
            self._objects.create(_template(_sha(body)), body.encode())
        numbers = [one.number for one in self.all()]
        version = Version(
            number=max(numbers, default=0) + 1,
            command=command,
            by=by,
            began=_now(),
            made_with=application.VERSION,
            digests=None,
            environment=environment.model_dump(mode="json"),
            templates={stack: _sha(body) for stack, body in bodies.items()},
        )
        if self._objects.create(_version(version.number), _written(version)) is None:
            raise Conflict("Somebody else began at the same moment.", hint="Look who: pegasus aws status")
        return version

    def end(self, version: Version, outcome: Outcome, digests: Digests | None, cause: str = "") -> Version:
        done = replace(version, outcome=outcome, digests=digests, cause=cause, ended=_now())
        key = _version(version.number)
        found = self._objects.read(key)
        if found is None or self._objects.replace(key, _written(done), found.tag) is None:
            raise Conflict(f"The record of version {version.number} was changed by somebody else.")
        return done

    def bodies(self, version: Version) -> Mapping[StackName, str]:
        """Its templates, byte by byte as they were."""
        return {stack: self._body(sha) for stack, sha in version.templates.items()}

    def _body(self, sha: str) -> str:
        found = self._objects.read(_template(sha))
        if found is None or hashlib.sha256(found.body).hexdigest() != sha:
            raise NotFound(f"The template {sha} is not in the history any more, or is another one.")
        return found.body.decode()

    def _read(self, key: str) -> Version:
        found = self._objects.read(key)
        if found is None:
            raise NotFound(f"{key} is not in the history any more.")
        given = json.loads(found.body)
        return Version(**{**given, "digests": given["digests"] and Digests(**given["digests"])})


def _version(number: int) -> str:
    return f"versions/{number:06d}.json"


def _template(sha: str) -> str:
    return f"templates/{sha}.json"


def _sha(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _written(version: Version) -> bytes:
    return json.dumps(asdict(version), indent=1).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
