"""Apply, release, rollback: one path for all three, which differ in the templates and the images that it is given."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

from pegasus.errors import Conflict, Invalid, NotFound, PegasusError
from pegasus_aws import names
from pegasus_aws.clients.cloudformation import Proposal
from pegasus_aws.environments import Environment
from pegasus_aws.names import StackName
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.release import causes, decisions, health, schema
from pegasus_aws.release.account import Account
from pegasus_aws.release.failure import NotDeployed
from pegasus_aws.release.history import Digests, History, Version
from pegasus_aws.release.images import build_and_push
from pegasus_aws.release.lock import Lock
from pegasus_aws.release.phases import Threads, ordered, threads
from pegasus_aws.release.smoke import smoke
from pegasus_aws.release.stacks import Stacks, Wanted

Bodies = Mapping[StackName, str]
Images = Callable[[], Digests]


class Deployment:
    def __init__(
        self,
        environment: Environment,
        account: Account,
        *,
        agree: Callable[[Proposal], bool],
        say: Callable[[str], None],
        address: str | None = None,
        service_account_key: Mapping[str, str] | None = None,
    ) -> None:
        """``address`` is where the balancer is asked, when not at the environment's domain."""
        self._environment, self._account, self._say = environment, account, say
        self._address = address or f"https://{environment.domain}"
        self._google_key = service_account_key
        self._history = History(account.objects)
        self._lock = Lock(account.objects, account.identity.arn)
        self._stacks = Stacks(environment, account.cloudformation, agree=agree, say=say, keep=self._lock.keep)

    def apply(self, images: Images | None) -> Version:
        """Everything as this version of Pegasus and the environment's values say. Without images: those that run."""
        if self._environment.missing:
            raise Invalid(
                f"The environment does not say: {', '.join(self._environment.missing)}.",
                hint="Name them in a file of your own: pegasus aws apply --file FILE",
            )
        return self._attempt(
            "apply", lambda: ({one.name: one.body() for one in synthesise(self._environment)}, images or self._running)
        )

    def release(self, images: Images) -> Version:
        """Other images on what runs; nothing else is changed."""
        return self._attempt("release", lambda: (self._history.bodies(self._last()), images))

    def rollback(self, number: int | None) -> Version:
        """All that an older version was: its templates and its images.

        Without a number it is the one before the last, or where the last attempt failed, the last that did not.
        """

        def older() -> tuple[Bodies, Images]:
            version = self._history.named(number) if number is not None else self._before()
            digests = _digests(version)
            return self._history.bodies(version), lambda: digests

        return self._attempt(f"rollback {number}" if number is not None else "rollback", older)

    def verify(self) -> None:
        """Whether what was deployed last works. Raises ``NotDeployed`` with what does not."""
        digests = _digests(self._last())
        if wrong := health.observe(self._environment, self._account, digests):
            raise NotDeployed(" ".join(wrong), hint="See what it says: pegasus aws logs")
        self._try()

    def build(self, checkout: Path) -> Digests:
        return build_and_push(self._environment, self._account.registry, checkout, self._say)

    def named(self, backend: str | None, chroma: str | None) -> Digests:
        """Those that are named; what is not named stays as it runs."""
        if backend and chroma:
            return Digests(backend, chroma)
        there = self._running()
        return Digests(backend or there.backend, chroma or there.chroma)

    def _attempt(self, command: str, choose: Callable[[], tuple[Bodies, Images]]) -> Version:
        self._account.objects.prepare()
        with self._lock.taken(command):
            bodies, images = choose()
            version = self._history.begin(command, self._account.identity.arn, self._environment, bodies)
            attempt = _Attempt(images)
            try:
                self._carry_out(bodies, attempt)
            except BaseException as error:
                cause = error.detail if isinstance(error, PegasusError) else f"interrupted ({type(error).__name__})"
                self._history.end(version, "failed", attempt.known, cause)
                raise
            return self._history.end(version, "succeeded", attempt.digests)

    def _carry_out(self, bodies: Bodies, attempt: _Attempt) -> None:
        last = self._history.last()
        for stack in ordered(self._threads_now(bodies), {name: threads(body) for name, body in bodies.items()}):
            if stack in ("migration", "services"):
                self._require_images(attempt.digests)
            self._bring(stack, bodies[stack], attempt, last)
        health.prove(self._environment, self._account, attempt.digests, say=self._say, keep=self._lock.keep)
        self._try()

    def _try(self) -> None:
        smoke(self._address, self._environment.domain, self._operator_key())
        self._say(f"{self._address}: a document went in, and an answer that cites it came out")

    def _bring(self, stack: StackName, body: str, attempt: _Attempt, last: Version | None) -> None:
        wants_digests = stack in ("migration", "services")
        parameters = attempt.digests.parameters(body) if wants_digests else {}
        began = time.time()
        try:
            there = self._stacks.bring(Wanted(stack, body, parameters, self._environment.protected))
        except NotDeployed as error:
            more = causes.of_stopped_tasks(self._environment, self._account, began) if stack == "services" else ""
            raise NotDeployed(f"{error.detail} {more}".rstrip(), hint=error.hint) from error
        if stack == "data":
            self._fill_secrets(body)
        # What the last version that succeeded ran on is as it wants it.
        if stack == "migration" and (last is None or last.digests != attempt.digests):
            schema.prepare(self._environment, self._account, there, say=self._say, keep=self._lock.keep)

    def _fill_secrets(self, body: str) -> None:
        """The one secret that nobody but its owner has; it goes from his file to where it is kept, and nowhere else."""
        if "GoogleSecret" not in body:
            return
        name = names.secret(self._environment, "vertex-ai")
        if self._google_key is not None:
            self._account.secrets.write(name, self._google_key)
            self._say(f"secret {name}: written")
        elif self._account.secrets.read(name) is None:
            raise Invalid(
                f"The secret {name} has no value yet, and no task that wants it would start.",
                hint="Give it by a file or from another program: pegasus aws apply --service-account-key FILE",
            )

    def _require_images(self, digests: Digests) -> None:
        wanted = {"backend": digests.backend, "celery-worker": digests.backend, "chromadb": digests.chroma}
        for image, digest in wanted.items():
            repository = names.repository(self._environment, image)
            if not self._account.registry.has(repository, digest):
                raise NotFound(
                    f"{repository} has no image {digest}.", hint="Push it first, or let it be built: --build"
                )

    def _threads_now(self, bodies: Bodies) -> Mapping[StackName, Threads]:
        found = {}
        for stack in bodies:
            name = names.stack(self._environment, stack)
            there = self._account.cloudformation.describe(name)
            if there and decisions.next_step(there.status) in ("update", "wait", "continue"):
                found[stack] = threads(self._account.cloudformation.template(name))
        return found

    def _operator_key(self) -> str:
        name = names.secret(self._environment, "operator")
        value = self._account.secrets.read(name)
        if value is None:
            raise NotFound(f"The secret {name} is not there.", hint="pegasus aws apply")
        return value["key"]

    def _running(self) -> Digests:
        there = self._account.cloudformation.describe(names.stack(self._environment, "services"))
        if there is None or "BackendDigest" not in there.parameters:
            raise Invalid(
                "Nothing runs yet whose images could be kept.",
                hint="Name them, or let them be built: pegasus aws apply --build",
            )
        return Digests(there.parameters["BackendDigest"], there.parameters["ChromaDigest"])

    def _last(self) -> Version:
        last = self._history.last()
        if last is None:
            raise Conflict("Nothing was applied yet.", hint="pegasus aws apply")
        return last

    def _before(self) -> Version:
        last = self._last()
        if self._history.all()[-1].outcome != "succeeded":
            return last
        found = [one for one in self._history.succeeded() if _content(one) != _content(last)]
        if not found:
            raise Conflict("There is no version before the one that runs.", hint="pegasus aws history")
        return found[-1]


class _Attempt:
    """The images of one attempt: looked for when they are needed first, for there is no registry before."""

    def __init__(self, images: Images) -> None:
        self._images = images

    @cached_property
    def digests(self) -> Digests:
        return self._images()

    @property
    def known(self) -> Digests | None:
        return self.__dict__.get("digests")


def _digests(version: Version) -> Digests:
    if version.digests is None:
        raise Conflict(f"Version {version.number} says nothing of its images.")
    return version.digests


def _content(version: Version) -> tuple[Digests | None, Mapping[StackName, str]]:
    return version.digests, version.templates


def address_of(option: str | None) -> str | None:
    """Where the balancer is asked: before the domain points to it, or from within the network."""
    return option or os.environ.get("PEGASUS_AWS_ADDRESS") or None
