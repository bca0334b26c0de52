"""What a deployment decides, as data: no account, no emulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from pegasus.errors import Conflict
from pegasus_aws import names
from pegasus_aws.clients.balancer import Target
from pegasus_aws.clients.cloudformation import Event, Running
from pegasus_aws.clients.tasks import Service, Task
from pegasus_aws.environments import DEVELOPMENT, PRODUCTION
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.release import decisions, schema
from pegasus_aws.release.account import Account
from pegasus_aws.release.failure import NotDeployed
from pegasus_aws.release.health import SERVICES, shortfalls
from pegasus_aws.release.history import Digests
from pegasus_aws.release.lock import HOLD_SECONDS, Holder, verdict
from pegasus_aws.release.phases import DEADLINE_MINUTES, Threads, ordered, threads
from pegasus_aws.release.removal import letting_go

DIGESTS = Digests("sha256:" + "b" * 64, "sha256:" + "c" * 64)


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (None, "create"),
        ("REVIEW_IN_PROGRESS", "create"),
        ("CREATE_IN_PROGRESS", "wait"),
        ("ROLLBACK_IN_PROGRESS", "wait"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "wait"),
        ("DELETE_IN_PROGRESS", "wait"),
        ("CREATE_COMPLETE", "update"),
        ("UPDATE_ROLLBACK_COMPLETE", "update"),
        ("ROLLBACK_COMPLETE", "delete"),
        ("ROLLBACK_FAILED", "delete"),
        ("CREATE_FAILED", "delete"),
        ("UPDATE_ROLLBACK_FAILED", "continue"),
        ("DELETE_FAILED", "refuse"),
        ("UPDATE_FAILED", "refuse"),
        ("SOMETHING_NEW", "refuse"),
    ],
)
def test_every_state_that_somebody_may_have_left_has_its_next_step(status: str | None, step: str):
    assert decisions.next_step(status) == step


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "DELETE_COMPLETE", None])
def test_what_was_rolled_back_is_no_success(status: str | None):
    assert not decisions.succeeded(status)


def test_the_cause_is_the_first_that_failed_by_itself():
    events = [
        _event("Targets", "CREATE_IN_PROGRESS", ""),
        _event("Name", "CREATE_FAILED", "Resource creation cancelled"),
        _event("Certificate", "CREATE_FAILED", "The certificate was refused"),
        _event("Balancer", "CREATE_FAILED", "Too many balancers"),
        _event("stack", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Certificate]"),
    ]

    assert decisions.cause(events) == events[2]
    assert decisions.cause(events[:1]) is None


def _event(resource: str, status: str, reason: str) -> Event:
    return Event(f"{resource}-{status}", resource, "AWS::X::Y", status, reason, "")


@pytest.mark.parametrize("environment", [DEVELOPMENT, PRODUCTION], ids=lambda one: one.name)
def test_from_nothing_the_order_is_that_of_the_stacks(environment):
    then = {one.name: threads(one.body()) for one in synthesise(environment)}

    assert tuple(ordered({}, then)) == names.STACKS == tuple(ordered(then, then))
    assert set(DEADLINE_MINUTES) == set(names.STACKS)


def _threads(gives: str = "", takes: str = "") -> Threads:
    return Threads(frozenset(gives.split()), frozenset(takes.split()))


@pytest.mark.parametrize(
    ("now", "then", "order"),
    [
        pytest.param(
            {"data": _threads("a"), "services": _threads(takes="a")},
            {"data": _threads("a b"), "services": _threads(takes="a b")},
            ["data", "services"],
            id="what is new is given before it is taken",
        ),
        pytest.param(
            {"data": _threads("a b"), "services": _threads(takes="a b")},
            {"data": _threads("a"), "services": _threads(takes="a")},
            ["services", "data"],
            id="what goes is let go of first",
        ),
        pytest.param(
            {"network": _threads("n"), "data": _threads("a b", "n"), "services": _threads(takes="a b n")},
            {"network": _threads("n m"), "data": _threads("a", "n m"), "services": _threads(takes="a m")},
            ["network", "services", "data"],
            id="both at once, between different stacks",
        ),
        pytest.param(
            {},
            {"services": _threads(), "migration": _threads()},
            ["migration", "services"],
            id="the schema comes first",
        ),
    ],
)
def test_the_order_follows_from_what_is_given_and_taken(now, then, order: Sequence[str]):
    assert list(ordered(now, then)) == order


def test_two_that_wait_for_each_other_are_told_before_anything_is_changed():
    now = {"data": _threads("a"), "services": _threads(takes="a")}
    then = {"data": _threads("b"), "services": _threads(takes="b")}

    with pytest.raises(Conflict, match="data, services wait for each other") as caught:
        ordered(now, then)

    assert caught.value.hint
    assert "in two" in caught.value.hint


@pytest.mark.parametrize(
    ("held", "age", "host", "alive", "worth"),
    [
        (False, 0, "here", True, "free"),
        (True, 0, "here", True, "held"),
        (True, 0, "there", False, "held"),  # Nobody can see from here whether it lives.
        (True, 0, "here", False, "dead"),
        (True, HOLD_SECONDS - 1, "there", True, "held"),
        (True, HOLD_SECONDS + 1, "there", True, "expired"),
    ],
)
def test_a_lock_is_worth_something_as_long_as_its_owner_lives(held, age, host, alive, worth):
    holder = Holder("me", host, 1, "apply", "2026-01-01T00:00:00", held=held)

    assert verdict(holder, age, "here", lambda _: alive) == worth


def _services(**changes) -> list[Service]:
    return [
        Service(
            name=names.family(DEVELOPMENT, family),
            digest=DIGESTS.chroma if family == "chromadb" else DIGESTS.backend,
            task_definition="",
            **{"desired": 1, "running": 1, "pending": 0, "rollouts": ("COMPLETED",)}
            | (changes if family == "backend-api" else {}),
        )
        for family in SERVICES
    ]


HEALTHY = Target("10.0.0.1", "healthy", "")


def test_an_end_as_it_should_be_has_nothing_to_be_said_about():
    draining = Target("10.0.0.2", "draining", "Target deregistration is in progress")

    assert list(shortfalls(DEVELOPMENT, DIGESTS, _services(), [HEALTHY, draining])) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"running": 1, "desired": 2}, "1 of 2 tasks"),  # An emulator and ECS both call this COMPLETED.
        ({"pending": 1}, "1 pending"),
        ({"desired": 0, "running": 0}, "0 of 0 tasks"),
        ({"rollouts": ("FAILED",)}, "FAILED"),
        ({"rollouts": ("IN_PROGRESS", "COMPLETED")}, "being exchanged"),
        ({"rollouts": ()}, "no deployment"),
    ],
)
def test_a_service_that_is_otherwise_is_told(changes, says: str):
    found = list(shortfalls(DEVELOPMENT, DIGESTS, _services(**changes), [HEALTHY, HEALTHY]))

    assert len(found) == 1
    assert says in found[0]


def test_an_older_image_a_missing_service_and_sick_targets_are_told():
    services = [one for one in _services() if not one.name.endswith("scheduler")]
    sick = Target("10.0.0.1", "unhealthy", "Health checks failed with these codes: [503]")

    found = list(shortfalls(DEVELOPMENT, Digests(DIGESTS.backend, "sha256:" + "d" * 64), services, [sick]))

    assert len(found) == 3
    assert "scheduler is not there" in found[0]
    assert "chromadb has the image sha256:cccccccccccc, not sha256:dddddddddddd" in found[1]
    assert "0 of 1 targets healthy (unhealthy: Health checks failed with these codes: [503])" in found[2]


def test_each_template_is_given_the_digests_that_it_asks_for():
    bodies = {one.name: one.body() for one in synthesise(PRODUCTION)}

    assert DIGESTS.parameters(bodies["data"]) == {}
    assert DIGESTS.parameters(bodies["migration"]) == {"BackendDigest": DIGESTS.backend}
    assert DIGESTS.parameters(bodies["services"]) == {"BackendDigest": DIGESTS.backend, "ChromaDigest": DIGESTS.chroma}


def test_what_is_let_go_of_retains_nothing_and_is_a_change_that_cloudformation_sees():
    data = next(one for one in synthesise(PRODUCTION) if one.name == "data").template.to_dict()

    made = letting_go(data)

    assert made
    kept = [name for name, one in data["Resources"].items() if one.get("DeletionPolicy", "Delete") != "Delete"]
    assert "Database" in kept
    assert {one.get("DeletionPolicy", "Delete") for one in made["Resources"].values()} == {"Delete"}
    assert all(made["Resources"][name]["Metadata"] != data["Resources"][name].get("Metadata") for name in kept)
    assert letting_go(made) is None


class _Ecs:
    """Tasks that end at once, as they are told to; what was started, by its definition and group."""

    def __init__(self, *exit_codes: int) -> None:
        self._exit_codes = list(exit_codes)
        self.started: list[tuple[str, str]] = []

    def at_work(self, definition: str, family: str) -> None:
        assert family == f"pegasus-dev-{definition}"

    def start(self, definition: str, subnets: Sequence[str], group: str, address: str, by: str) -> str:
        self.started.append((definition, group))
        return f"arn/{definition}-1"

    def task(self, arn: str) -> Task:
        return Task(arn, "STOPPED", self._exit_codes.pop(0), "Essential container in task exited")


def _prepare(ecs: _Ecs) -> list[str]:
    groups = {"RolesSecurityGroup": "sg-roles", "MigrationSecurityGroup": "sg-migration", "TaskSubnets": "a,b"}
    stack = Running("id", "CREATE_COMPLETE", "", {}, {"RolesTask": "roles", "MigrationTask": "migration"}, False)
    account = SimpleNamespace(
        tasks=ecs,
        cloudformation=SimpleNamespace(describe=lambda _: replace(stack, outputs=groups)),
        logs=SimpleNamespace(tail=lambda group, stream, _: [f"{group} {stream}"]),
    )
    said: list[str] = []
    schema.prepare(DEVELOPMENT, cast(Account, account), stack, say=said.append, keep=lambda: None)
    return said


def test_the_roles_are_there_before_the_schema_is_brought_forward():
    ecs = _Ecs(0, 0)

    said = _prepare(ecs)

    assert ecs.started == [("roles", "sg-roles"), ("migration", "sg-migration")]
    assert said[1::2] == ["roles: the database has them", "schema: as this version wants it"]


@pytest.mark.parametrize(
    ("ecs", "says"),
    [
        pytest.param(_Ecs(1), r"The roles .* were not made: exit code 1; .*/roles task/roles/roles-1", id="roles"),
        pytest.param(_Ecs(0, 2), r"The schema was not .*: exit code 2; .*/migration task/migration/", id="schema"),
    ],
)
def test_a_task_that_fails_ends_it_there_with_what_it_said_last(ecs: _Ecs, says: str):
    with pytest.raises(NotDeployed, match=says):
        _prepare(ecs)
