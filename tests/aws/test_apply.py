"""Deployments against the emulator: everything but what tasks do, for which it takes a container engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from servers import REQUIRED

from pegasus.errors import Conflict, Invalid, NotFound, PegasusError
from pegasus_aws import names
from pegasus_aws.environments import DEVELOPMENT, Environment, Google
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.programs import NotInstalled
from pegasus_aws.rehearsal.emulator import Emulator, running_emulator
from pegasus_aws.release.account import Account, open_account
from pegasus_aws.release.deployment import Deployment
from pegasus_aws.release.failure import NotDeployed
from pegasus_aws.release.history import Digests, History
from pegasus_aws.release.lock import HOLD_SECONDS, KEY, Lock, read
from pegasus_aws.release.removal import destroy
from pegasus_aws.release.stacks import Stacks, Wanted

MINE = DEVELOPMENT.model_copy(
    update={
        "name": "mine",
        "domain": "notes.acme.io",
        "hosted_zone_id": "Z08215993DDR6WABC",
        "alert_email": "ops@acme.io",
    }
)
NOWHERE = Digests("sha256:" + "a" * 64, "sha256:" + "a" * 64)
BUILT = ("network", "data", "platform", "observability")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One for the module: each test leaves the account empty."""
    try:
        with running_emulator(tmp_path_factory.mktemp("emulator"), MINE) as made:
            yield made
    except NotInstalled as why:
        if REQUIRED:
            raise
        pytest.skip(str(why))


@pytest.fixture
def account(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name, value in emulator.variables.items():
        monkeypatch.setenv(name, value)
    for module in ("stacks", "schema", "health"):
        monkeypatch.setattr(f"pegasus_aws.release.{module}.POLL_SECONDS", 0.05)
    monkeypatch.setattr("pegasus_aws.clients.cloudformation._POLL_SECONDS", 0.05)
    made = open_account(MINE)
    yield made
    destroy(MINE, made, with_data=True, say=_silent, agree=lambda _: True)
    assert not boto3.client("s3", region_name=MINE.region).list_buckets()["Buckets"]


def _silent(_: str) -> None:
    pass


def _deployment(
    account: Account, *, say: Callable[[str], None] = _silent, agree: bool = True, environment: Environment = MINE
) -> Deployment:
    return Deployment(environment, account, agree=lambda _: agree, say=say)


def _statuses(account: Account) -> dict[str, str | None]:
    found = {stack: account.cloudformation.describe(names.stack(MINE, stack)) for stack in names.STACKS}
    return {stack: there and there.status for stack, there in found.items()}


def _built(account: Account) -> None:
    """All that is there before there are images."""
    with pytest.raises(NotFound, match="has no image"):
        _deployment(account).apply(lambda: NOWHERE)


def _pushed() -> Digests:
    """Images as far as a registry knows them."""
    registry = boto3.client("ecr", region_name=MINE.region)
    digests = {}
    for image in names.REPOSITORIES:
        config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": NOWHERE.backend}
        media = "application/vnd.docker.distribution.manifest.v2+json"
        # The worker's is the same image as the backend's.
        author = "chroma" if image == "chromadb" else "backend"
        manifest = {"schemaVersion": 2, "mediaType": media, "config": config, "layers": [], "author": author}
        put = registry.put_image(
            repositoryName=names.repository(MINE, image), imageManifest=json.dumps(manifest), imageTag="1"
        )
        digests[image] = put["image"]["imageId"]["imageDigest"]
    return Digests(digests["backend"], digests["chromadb"])


def test_it_builds_phase_by_phase_and_a_second_time_changes_nothing(account: Account):
    said: list[str] = []

    _built(account)
    with pytest.raises(NotFound):
        _deployment(account, say=said.append).apply(lambda: NOWHERE)

    there = dict.fromkeys(BUILT, "CREATE_COMPLETE")
    assert _statuses(account) == {**there, "migration": None, "services": None}
    assert said == [f"{stack}: no change" for stack in BUILT]


def test_without_a_task_that_brings_the_schema_forward_no_service_is_made(account: Account):
    """The emulator has no engine, and says so; that is the end, and it is told as it is."""
    _built(account)
    digests = _pushed()

    # Before the schema, a new database wants its roles.
    with pytest.raises(PegasusError, match="does not start .*mine-roles.*no container engine"):
        _deployment(account).apply(lambda: digests)

    assert _statuses(account)["migration"] == "CREATE_COMPLETE"
    assert _statuses(account)["services"] is None
    last = History(account.objects).all()[-1]
    assert (last.outcome, last.digests) == ("failed", digests)
    assert "no container engine" in last.cause
    with pytest.raises(Conflict, match="Nothing was applied yet"):
        _deployment(account).release(lambda: digests)
    with pytest.raises(Conflict, match="has never run"):
        _deployment(account).rollback(last.number)


def test_a_change_that_is_not_agreed_to_leaves_nothing(account: Account):
    with pytest.raises(Conflict, match="network was not agreed to"):
        _deployment(account, agree=False).apply(lambda: NOWHERE)

    assert set(_statuses(account).values()) == {None}
    assert read(account.objects) is None


def test_a_creation_that_failed_is_told_by_its_cause_and_mended_by_the_next(account: Account):
    stack, stacks = names.stack(MINE, "network"), _stacks(account)
    broken = {"Resources": {"Value": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/x", "Type": "Odd"}}}}

    with pytest.raises(NotDeployed, match=r"network/Value: .*\(ROLLBACK_COMPLETE\)"):
        stacks.bring(Wanted("network", json.dumps(broken), {}, protected=False))
    found = account.cloudformation.describe(stack)
    assert found
    assert found.status == "ROLLBACK_COMPLETE"

    assert stacks.bring(Wanted("network", _body("network"), {}, protected=False)).status == "CREATE_COMPLETE"


def _stacks(account: Account, say: Callable[[str], None] = _silent) -> Stacks:
    return Stacks(MINE, account.cloudformation, agree=lambda _: True, say=say, keep=lambda: None)


def _body(stack: str) -> str:
    return next(one.body() for one in synthesise(MINE) if one.name == stack)


def test_a_stack_of_which_only_a_change_set_was_made_is_built(account: Account):
    account.cloudformation.propose(names.stack(MINE, "network"), "CREATE", _body("network"), {}, names.tags(MINE))
    assert _statuses(account)["network"] == "REVIEW_IN_PROGRESS"

    assert _stacks(account).bring(Wanted("network", _body("network"), {}, protected=False)).status == "CREATE_COMPLETE"


def test_what_holds_data_is_not_changed_for_something_empty(account: Account):
    _built(account)
    template = json.loads(_body("data"))
    renamed = template["Resources"].pop("VectorsFiles")
    template["Resources"]["OtherFiles"] = renamed
    body = json.dumps(template).replace('"VectorsFiles"', '"OtherFiles"').replace("VectorsFiles.", "OtherFiles.")

    with pytest.raises(Conflict, match=r"VectorsFiles: It would go from the stack"):
        _stacks(account).bring(Wanted("data", body, {}, protected=False))

    assert _statuses(account)["data"] == "CREATE_COMPLETE"


def test_protection_comes_with_the_stack_and_is_kept_in_step(account: Account):
    stacks, body = _stacks(account), _body("network")

    assert stacks.bring(Wanted("network", body, {}, protected=True))
    found = account.cloudformation.describe(names.stack(MINE, "network"))
    assert found
    assert found.protected
    stacks.bring(Wanted("network", body, {}, protected=False))
    found = account.cloudformation.describe(names.stack(MINE, "network"))
    assert found
    assert not found.protected


@pytest.mark.parametrize(
    "phase", ["data", *(pytest.param(phase, marks=pytest.mark.aws) for phase in BUILT if phase != "data")]
)
def test_an_operator_who_stops_in_a_phase_gives_the_lock_back_and_goes_on_from_there(account: Account, phase: str):
    def stop(text: str) -> None:
        if text.startswith(f"{phase}/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _deployment(account, say=stop).apply(lambda: NOWHERE)
    assert read(account.objects) is None
    assert History(account.objects).all()[-1].cause == "interrupted (KeyboardInterrupt)"

    _built(account)
    assert _statuses(account)["observability"] == "CREATE_COMPLETE"


@pytest.mark.aws
def test_an_operator_who_is_killed_is_not_waited_for_on_his_own_machine(account: Account, tmp_path: Path):
    file = tmp_path / "mine.toml"
    given = {name: getattr(MINE, name) for name in ("name", "domain", "hosted_zone_id", "alert_email")}
    file.write_text("\n".join(['like = "dev"', *(f"{name} = {json.dumps(value)}" for name, value in given.items())]))
    command = [str(Path(sys.executable).with_name("pegasus")), "aws", "apply", "--file", str(file), "--yes"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as operator:
        assert operator.stderr
        for line in operator.stderr:
            if " data/" in line:
                operator.kill()
                break
        operator.stderr.read()
    assert operator.returncode == -signal.SIGKILL
    unfinished = History(account.objects).all()[-1]
    assert (unfinished.outcome, unfinished.ended) == ("unfinished", "")

    done = subprocess.run(command, capture_output=True, text=True, timeout=100)

    # All that can be built without images is there; what is missing is told with the next step.
    assert done.returncode == 2
    assert "pegasus aws apply --build" in done.stderr
    assert _statuses(account)["observability"] == "CREATE_COMPLETE"


def test_of_two_operators_one_is_told_who_the_other_is(account: Account):
    account.objects.prepare()
    with (
        Lock(account.objects, "arn:aws:iam::1:user/ada").taken("release 7"),
        pytest.raises(Conflict, match="user/ada on .* is at work since .*: release 7") as caught,
    ):
        _deployment(account).apply(lambda: NOWHERE)

    assert caught.value.hint
    assert "ends by itself" in caught.value.hint
    assert set(_statuses(account).values()) == {None}


def test_of_many_who_begin_at_once_one_has_the_lock(account: Account):
    account.objects.prepare()
    start, end, outcomes = threading.Barrier(8), threading.Event(), []

    def begin(number: int) -> None:
        lock = Lock(account.objects, f"operator {number}")
        start.wait(20)
        try:
            with lock.taken("apply"):
                outcomes.append("had it")
                end.wait(20)
        except Conflict:
            outcomes.append("had not")
            if len(outcomes) == 8:
                end.set()

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    _until(lambda: len(outcomes) == 8)
    end.set()
    for thread in threads:
        thread.join(20)

    assert sorted(outcomes) == ["had it", *["had not"] * 7]


def _until(reached: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(400):
        if reached():
            return
        waited.wait(0.05)
    raise AssertionError("It did not come about within 20 s.")


def test_who_lost_the_lock_stops_before_the_next_change(account: Account, monkeypatch: pytest.MonkeyPatch):
    account.objects.prepare()
    slow = Lock(account.objects, "slow")
    with pytest.raises(Conflict, match="taken by somebody else"), slow.taken("apply"):
        found = account.objects.read(KEY)
        assert found
        assert found.age_seconds < HOLD_SECONDS
        # As if it had not been renewed for longer than a lock holds.
        monkeypatch.setattr("pegasus_aws.release.lock.HOLD_SECONDS", -1)
        with Lock(account.objects, "quick").taken("apply"):
            monkeypatch.setattr("pegasus_aws.release.lock._RENEW_SECONDS", 0)
            slow.keep()


def test_a_secret_that_only_its_owner_has_is_asked_for_and_never_stands_in_a_template(account: Account):
    google = Google(project_id="p", agent_engine_id="1")
    environment = MINE.model_copy(update={"google": google})
    key = {"service_account_key": '{"private_key": "very secret indeed"}'}

    with pytest.raises(Invalid, match="has no value yet"):
        _deployment(account, environment=environment).apply(lambda: NOWHERE)
    said: list[str] = []
    given = Deployment(environment, account, agree=lambda _: True, say=said.append, service_account_key=key)
    with pytest.raises(NotFound, match="has no image"):
        given.apply(lambda: NOWHERE)

    assert account.secrets.read("pegasus/mine/vertex-ai") == key
    assert "very secret" not in " ".join(said)
    kept = [account.objects.read(name) for name in account.objects.keys("")]
    assert all(one and b"very secret" not in one.body for one in kept)
    assert "very secret" not in account.cloudformation.template(names.stack(MINE, "data"))
    # Written once; it is not asked for again.
    with pytest.raises(NotFound, match="has no image"):
        _deployment(account, environment=environment).apply(lambda: NOWHERE)


def test_what_is_protected_is_not_destroyed_and_data_only_when_told_twice(account: Account):
    _built(account)
    buckets = account.cloudformation.buckets(names.stack(MINE, "data"))
    storage = boto3.client("s3", region_name=MINE.region)
    for number in range(3):
        storage.put_object(Bucket=buckets[0], Key="a document", Body=str(number).encode())
    storage.delete_object(Bucket=buckets[0], Key="a document")

    with pytest.raises(Conflict, match="is protected"):
        destroy(MINE.model_copy(update={"protected": True}), account, with_data=True, say=_silent, agree=bool)
    destroy(MINE, account, with_data=False, say=_silent, agree=lambda _: True)

    assert {name for name, status in _statuses(account).items() if status} == {"network", "data"}
    # The names that are fixed are free again: it can be built once more.
    _built(account)
    destroy(MINE, account, with_data=True, say=_silent, agree=lambda _: True)

    assert set(_statuses(account).values()) == {None}
    assert storage.list_buckets()["Buckets"] == []
    assert boto3.client("ecr", region_name=MINE.region).describe_repositories()["repositories"] == []
    assert boto3.client("secretsmanager", region_name=MINE.region).list_secrets()["SecretList"] == []


@pytest.mark.usefixtures("account")
def test_what_only_its_owner_knows_has_to_be_said_first():
    with pytest.raises(Invalid, match="domain, alert_email, hosted_zone_id"):
        Deployment(DEVELOPMENT, open_account(DEVELOPMENT), agree=bool, say=_silent).apply(None)


@pytest.mark.usefixtures("account")
def test_nobody_is_asked_where_nobody_is():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pegasus")), "aws", "destroy", "--env", "dev"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=dict(os.environ),
    )  # fmt: skip

    assert done.returncode == 2
    assert "--yes" in done.stderr
