"""The commands that change what runs and those that look at it: progress on stderr, what was asked for on stdout."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pegasus.cli.options import Json, print_json
from pegasus.errors import Invalid
from pegasus_aws.options import Env, File, environment_of

if TYPE_CHECKING:
    from pegasus_aws.clients.cloudformation import Proposal
    from pegasus_aws.release.deployment import Deployment, Images
    from pegasus_aws.release.history import Version

Yes = Annotated[bool, typer.Option("--yes", help="Make the changes without asking.")]
Address = Annotated[
    str | None, typer.Option(help="Where the balancer is asked, when not at the domain (PEGASUS_AWS_ADDRESS).")
]
Backend = Annotated[str | None, typer.Option(help="The digest of the backend's image: sha256:...")]
Chroma = Annotated[str | None, typer.Option(help="The digest of Chroma's image: sha256:...")]
Build = Annotated[bool, typer.Option("--build", help="Build the images of this checkout and push them.")]
_FOLLOW_SECONDS = 2.0


def apply(
    env: Env = "dev",
    file: File = None,
    yes: Yes = False,
    build: Build = False,
    backend: Backend = None,
    chroma: Chroma = None,
    service_account_key: Annotated[
        Path | None, typer.Option(help="Google's key for Vertex AI: a file, or - to read it from another program.")
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Make what the plan shows, phase by phase; run it again to go on from where it stopped."""
    from pegasus_aws.plan.planner import make_plan
    from pegasus_aws.plan.report import print_plan

    environment = environment_of(env, file)
    plan = make_plan(environment, with_checkov=False, with_difference=False)
    if not plan.may_be_applied:
        print_plan(plan, with_exceptions=False)
        raise typer.Exit(2)
    deployment = _deployment(env, file, yes, address, key=_key(service_account_key))
    named = build or backend or chroma
    _done(deployment.apply(_images(deployment, build, backend, chroma) if named else None), as_json)


def release(
    env: Env = "dev",
    file: File = None,
    yes: Yes = False,
    build: Build = False,
    backend: Backend = None,
    chroma: Chroma = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Bring other images into what runs: the schema first, then the services, then a try through the balancer."""
    if not (build or backend or chroma):
        raise Invalid("It is not said which images.", hint="pegasus aws release --build, or --backend sha256:...")
    deployment = _deployment(env, file, yes, address)
    _done(deployment.release(_images(deployment, build, backend, chroma)), as_json)


def rollback(
    version: Annotated[int | None, typer.Argument(help="As history numbers them; the one before, if none.")] = None,
    env: Env = "dev",
    file: File = None,
    yes: Yes = False,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Go back to an older version: its templates and its images, by the same way and with the same proof."""
    _done(_deployment(env, file, yes, address).rollback(version), as_json)


def status(env: Env = "dev", file: File = None, as_json: Json = False) -> None:
    """Show how it is; exit 1 when it is otherwise than the last version says."""
    from pegasus_aws.release.account import open_account
    from pegasus_aws.release.report import print_status
    from pegasus_aws.release.status import status as look

    environment = environment_of(env, file)
    now = look(environment, open_account(environment))
    if as_json:
        print_json(now.as_dict())
    else:
        print_status(now)
    if not now.well:
        raise typer.Exit(1)


def history(env: Env = "dev", file: File = None, as_json: Json = False) -> None:
    """Show every attempt to deploy, its end, and what it failed of."""
    from pegasus_aws.release.account import open_account
    from pegasus_aws.release.history import History
    from pegasus_aws.release.report import print_history
    from pegasus_aws.release.status import outline

    environment = environment_of(env, file)
    versions = History(open_account(environment).objects).all()
    if as_json:
        print_json([outline(one) for one in versions])
    else:
        print_history(versions)


def verify(env: Env = "dev", file: File = None, address: Address = None) -> None:
    """Prove that it works: tasks, targets, and through the balancer a document in and a cited answer out."""
    _deployment(env, file, True, address).verify()


def logs(
    family: Annotated[str, typer.Argument(help="backend-api, celery-worker, scheduler, chromadb, ...")] = "backend-api",
    env: Env = "dev",
    file: File = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    minutes: Annotated[int, typer.Option(min=1, help="How far back to begin.")] = 15,
) -> None:
    """Print what the tasks of a family said."""
    from pegasus_aws import names
    from pegasus_aws.clients.logs import Logs

    environment = environment_of(env, file)
    if family not in names.FAMILIES:
        raise Invalid(f"There is no family {family!r}.", hint=f"There are {', '.join(names.FAMILIES)}.")
    source, group = Logs(environment.region), names.log_group(environment, family)
    since = int((time.time() - minutes * 60) * 1000)
    seen: set[str] = set()
    while True:
        for line in source.since(group, since):
            if line.id not in seen:
                print(f"{line.stream.rpartition('/')[2][:8]} {line.text}", flush=True)
                # The same millisecond is asked for again: others may have spoken in it.
                since = max(since, line.at)
                seen.add(line.id)
        if not follow:
            return
        time.sleep(_FOLLOW_SECONDS)


def destroy(
    env: Env = "dev",
    file: File = None,
    yes: Yes = False,
    with_data: Annotated[
        str | None, typer.Option(help="Delete the data, too. Its value is the environment's name, for certainty.")
    ] = None,
) -> None:
    """Delete what can be made again; with --with-data NAME everything, and nothing is left."""
    from pegasus_aws.release.account import open_account
    from pegasus_aws.release.removal import destroy as remove

    environment = environment_of(env, file)
    if with_data not in (None, environment.name):
        raise Invalid(f"--with-data names {with_data!r}, and the environment is {environment.name!r}.")
    what = "EVERYTHING, with all data" if with_data else "all but network and data"
    if not yes and not _asked(f"Delete {what} of {environment.name} in {environment.region}?"):
        raise typer.Exit(1)
    _stop_gently()
    remove(environment, open_account(environment), with_data=bool(with_data), say=_say, agree=lambda _: True)


def _deployment(
    env: str, file: Path | None, yes: bool, address: str | None, key: Mapping[str, Any] | None = None
) -> Deployment:
    from pegasus_aws.release.account import open_account
    from pegasus_aws.release.deployment import Deployment, address_of

    _stop_gently()
    environment = environment_of(env, file)
    return Deployment(
        environment,
        open_account(environment),
        agree=(lambda _: True) if yes else _agree,
        say=_say,
        address=address_of(address),
        service_account_key=key,
    )


def _images(deployment: Deployment, build: bool, backend: str | None, chroma: str | None) -> Images:
    if build and (backend or chroma):
        raise Invalid("Either the images are built, or they are named.", hint="Leave --build or the digests away.")
    return (lambda: deployment.build(Path())) if build else (lambda: deployment.named(backend, chroma))


def _key(path: Path | None) -> Mapping[str, str] | None:
    """The whole key as one value. An option that held it would stand in the shell's history."""
    if path is None:
        return None
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} is no key of a service account: it cannot be read as JSON.") from error
    return {"service_account_key": text}


def _agree(proposal: Proposal) -> bool:
    from pegasus_aws.release.report import print_changes

    print_changes(proposal)
    return _asked(f"Make these changes to {proposal.stack}?")


def _asked(question: str) -> bool:
    if not sys.stdin.isatty():
        raise Invalid("There is nobody to ask.", hint="Look at it with pegasus aws plan, then add --yes.")
    return typer.confirm(question, err=True)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _stop_gently() -> None:
    """What is asked to end as Ctrl-C does gives its lock back; AWS goes on with what it has begun."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _done(version: Version, as_json: bool) -> None:
    from pegasus_aws.release.status import outline

    if as_json:
        print_json(outline(version))
    else:
        print(f"Version {version.number} runs. Next: pegasus aws status; to go back: pegasus aws rollback")
