"""Images: built from a checkout by the container engine that is there, and pushed to where tasks take them from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from pegasus.errors import Invalid, Misconfigured, NotFound
from pegasus_aws import application, names
from pegasus_aws.clients.registry import Registry
from pegasus_aws.environments import Environment
from pegasus_aws.release.failure import NotDeployed
from pegasus_aws.release.history import Digests

_MINUTES = 60
_PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
# The Dockerfile's targets, and the repositories that each goes to.
_TARGETS = {"pegasus": ("backend", "celery-worker"), "vectors": ("chromadb",)}


def build_and_push(environment: Environment, registry: Registry, checkout: Path, say: Callable[[str], None]) -> Digests:
    """Raises ``Misconfigured`` without an engine, ``NotDeployed`` when it fails."""
    if not (checkout / "Dockerfile").is_file():
        raise Invalid(f"There is no Dockerfile in {checkout.resolve()}.", hint="Run it in a checkout of Pegasus.")
    engine = _engine()
    login = registry.login()
    _run([engine, "login", "--username", login.user, "--password-stdin", login.registry], given=login.password)
    digests = {}
    for target, repositories in _TARGETS.items():
        image = _build(engine, environment, checkout, target)
        for repository in repositories:
            full = names.repository(environment, repository)
            digests[repository] = _push(engine, registry, login.registry, full, image, say)
    if digests["backend"] != digests["celery-worker"]:
        raise NotDeployed("The engine gave one image two digests; a release names it by one.")
    return Digests(digests["backend"], digests["chromadb"])


def _build(engine: str, environment: Environment, checkout: Path, target: str) -> str:
    """The image's id."""
    arguments = ["--target", target, "--platform", _PLATFORMS[environment.architecture]]
    return _run(
        [engine, "build", "--quiet", *arguments, "--build-arg", f"VERSION={application.VERSION}", str(checkout)]
    ).strip()


def _push(engine: str, registry: Registry, server: str, repository: str, image: str, say: Callable[[str], None]) -> str:
    """Its digest. A tag is the image's own id, and cannot be moved: what is there already is the same."""
    tag = f"{application.VERSION}-{image.removeprefix('sha256:')[:16]}"
    digest = registry.digest(repository, tag)
    if digest is None:
        name = f"{server}/{repository}:{tag}"
        _run([engine, "tag", image, name])
        _run([engine, "push", "--quiet", name])
        digest = registry.digest(repository, tag)
    if digest is None:
        raise NotFound(f"{repository}:{tag} was pushed and is not there.")
    say(f"images: {repository}:{tag} is {digest[:19]}")
    return digest


def _engine() -> str:
    for name in ("docker", "podman"):
        if found := shutil.which(name):
            return found
    raise Misconfigured(
        "There is no container engine here: neither docker nor podman.",
        hint="Build elsewhere, and name what was pushed: pegasus aws release --backend sha256:... --chroma sha256:...",
    )


def _run(command: Sequence[str], given: str | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the engine that the operator installed, and no shell.
            list(command), input=given, capture_output=True, text=True, timeout=_MINUTES * 60, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotDeployed(f"{command[1]} was not ready within {_MINUTES} minutes.") from error
    if done.returncode:
        last = " | ".join(done.stderr.strip().splitlines()[-3:])
        raise NotDeployed(f"images: {Path(command[0]).name} {command[1]} failed: {last}")
    return done.stdout
