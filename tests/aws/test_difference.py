"""What would change of what runs, asked of a server that answers as CloudFormation does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws.cloudformation import Account, serving

from pegasus_aws import names
from pegasus_aws.clients.cloudformation import Change
from pegasus_aws.environments import PRODUCTION
from pegasus_aws.plan.difference import differences, refused
from pegasus_aws.plan.findings import NotRun
from pegasus_aws.plan.synthesis import synthesise

NETWORK, DATA, _, _, _, SERVICES = (names.stack(PRODUCTION, name) for name in names.STACKS)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def account(no_credentials: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr("pegasus_aws.clients.cloudformation._POLL_SECONDS", 0.01)
    made = Account()
    with serving(made) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", address)
        yield made


def test_without_credentials_nothing_is_asked(no_credentials: None):
    with pytest.raises(NotRun, match="no credentials"):
        differences(synthesise(PRODUCTION))


def test_in_an_empty_account_everything_is_new(account: Account):
    found = differences(synthesise(PRODUCTION))

    assert [one.status for one in found] == [None] * 6
    assert not account.bodies


def test_changes_are_told_page_by_page_and_nothing_is_left_behind(account: Account):
    account.stacks = dict.fromkeys((NETWORK, DATA, SERVICES), "UPDATE_COMPLETE")
    account.changes[SERVICES] = [
        ("Modify", "BackendApiTask", "AWS::ECS::TaskDefinition", "True"),
        ("Modify", "BackendApiService", "AWS::ECS::Service", "False"),
        ("Add", "BackfillQueue", "AWS::Batch::JobQueue", ""),
    ]

    found = {one.stack: one for one in differences(synthesise(PRODUCTION))}

    assert Change("Modify", "BackendApiTask", "AWS::ECS::TaskDefinition", "True") == found[SERVICES].changes[0]
    assert [one.replacement for one in found[SERVICES].changes] == ["True", "False", ""]
    assert found[NETWORK].changes == ()
    assert refused(list(found.values())) == []
    assert account.made == {}
    assert "AWS::ECS::Service" in json.dumps(json.loads(account.bodies[SERVICES]))


def test_a_plan_keeps_the_digests_that_run(account: Account):
    account.stacks[SERVICES] = "UPDATE_COMPLETE"

    differences(synthesise(PRODUCTION))

    assert (account.parameters) == [
        {"Parameters.member.1.ParameterKey": "BackendDigest", "Parameters.member.1.UsePreviousValue": "true"}
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("Modify", "Database", "AWS::RDS::DBInstance", "True"), "take its place"),
        (("Remove", "FilesBucket", "AWS::S3::Bucket", ""), "go from the stack"),
    ],
)
def test_what_holds_data_stays(change: tuple[str, str, str, str], says: str, account: Account):
    account.stacks[DATA] = "UPDATE_COMPLETE"
    account.changes[DATA] = [change]

    found = refused(differences(synthesise(PRODUCTION)))

    assert [("data-replaced", change[1])] == [(one.rule, one.resource) for one in found]
    assert says in found[0].message


def test_a_creation_that_failed_is_told_as_what_it_is(account: Account):
    account.stacks[NETWORK] = "ROLLBACK_COMPLETE"

    found = refused(differences(synthesise(PRODUCTION)))

    assert [one.rule for one in found] == ["failed-creation"]
    assert "only be deleted" in found[0].hint


def test_a_template_that_is_refused_is_not_taken_for_unchanged(account: Account):
    account.stacks[DATA] = "UPDATE_COMPLETE"
    account.refuses = "Template error: instance of Fn::GetAtt references undefined resource X"

    found = refused(differences(synthesise(PRODUCTION)))

    assert [one.rule for one in found] == ["template-refused"]
    assert "undefined resource X" in found[0].message
    assert account.made == {}


def test_an_account_that_does_not_answer_is_not_taken_for_empty(account: Account):
    account.silent = True

    with pytest.raises(NotRun, match="gave no answer"):
        differences(synthesise(PRODUCTION))
