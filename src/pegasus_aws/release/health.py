"""The end that is asserted: what ECS and the balancer say when all is as it was meant, however the stack ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from pegasus_aws import names
from pegasus_aws.clients.balancer import Target
from pegasus_aws.clients.tasks import Service
from pegasus_aws.environments import Environment
from pegasus_aws.release.account import Account
from pegasus_aws.release.failure import NotDeployed
from pegasus_aws.release.history import Digests

POLL_SECONDS = 3.0
# CloudFormation has waited for the services already; what is left is the last target to be found healthy.
_MINUTES = 5
SERVICES: tuple[names.Family, ...] = ("backend-api", "celery-worker", "scheduler", "chromadb")


def prove(
    environment: Environment,
    account: Account,
    digests: Digests,
    *,
    say: Callable[[str], None],
    keep: Callable[[], None],
) -> None:
    """Raises ``NotDeployed`` with all that is otherwise."""
    deadline = time.monotonic() + _MINUTES * 60
    told: Sequence[str] = ()
    while wrong := observe(environment, account, digests):
        if wrong != told:
            say(f"services: not yet: {' '.join(wrong)}")
            told = wrong
        if time.monotonic() > deadline:
            raise NotDeployed(" ".join(wrong), hint="See what it says: pegasus aws logs")
        keep()
        time.sleep(POLL_SECONDS)
    say("services: all tasks run, all targets are healthy")


def observe(environment: Environment, account: Account, digests: Digests) -> Sequence[str]:
    """All that is otherwise than it should be, now."""
    platform = account.cloudformation.describe(names.stack(environment, "platform"))
    if platform is None or "Targets" not in platform.outputs:
        return ["There is no balancer."]
    services = account.tasks.services([names.family(environment, family) for family in SERVICES])
    targets = account.balancer.targets(platform.outputs["Targets"])
    return list(shortfalls(environment, digests, services, targets))


def shortfalls(
    environment: Environment, digests: Digests, services: Sequence[Service], targets: Sequence[Target]
) -> Iterator[str]:
    there = {service.name: service for service in services}
    for family in SERVICES:
        digest = digests.chroma if family == "chromadb" else digests.backend
        service = there.get(names.family(environment, family))
        yield from _of_a_service(family, service, digest)
    healthy = [target for target in targets if target.state == "healthy"]
    api = there.get(names.family(environment, "backend-api"))
    wanted = max(1, api.desired if api else 0)
    if len(healthy) < wanted:
        why = {f"{one.state}: {one.reason}" for one in targets if one.state not in ("healthy", "draining")}
        told = f" ({'; '.join(sorted(why))})" if why else ""
        yield f"The balancer finds {len(healthy)} of {wanted} targets healthy{told}."


def _of_a_service(family: names.Family, service: Service | None, digest: str) -> Iterator[str]:
    if service is None:
        yield f"{family} is not there."
        return
    if service.digest != digest:
        yield f"{family} has the image {service.digest[:19]}, not {digest[:19]}."
    if service.running != service.desired or service.pending or not service.desired:
        yield f"{family} has {service.running} of {service.desired} tasks, {service.pending} pending."
    if service.rollouts != ("COMPLETED",):
        yield f"{family} is being exchanged: {', '.join(service.rollouts) or 'no deployment'}."
