"""`pegasus aws plan` as people and programs call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import REQUIRED

from pegasus_aws import names
from pegasus_aws.constructs.stack import because
from pegasus_aws.environments import PRODUCTION
from pegasus_aws.plan.checkov import check_with_checkov
from pegasus_aws.plan.findings import NotRun
from pegasus_aws.plan.lint import lint_one
from pegasus_aws.plan.synthesis import synthesise, system_of

PEGASUS = Path(sys.executable).with_name("pegasus")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Without the developer's own credentials, whatever place they are in."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    nowhere["XDG_CACHE_HOME"] = os.devnull  # Nor with prices that the developer once asked for.
    none = {**ours, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", **environment}
    return subprocess.run([str(PEGASUS), *arguments], capture_output=True, text=True, timeout=110, env=none)


def test_a_plan_tells_what_would_be_built_and_that_it_may_be_applied(tmp_path: Path):
    done = run("aws", "plan", "--env", "production", "--no-checkov", "--json", "--out", str(tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    plan = json.loads(done.stdout)
    assert [one["name"] for one in plan["stacks"]] == list(names.STACKS)
    assert {one["name"]: one["outcome"] for one in plan["checks"]} == {
        "synthesis": "passed",
        "policy": "passed",
        "price": "passed",
        "cfn-lint": "passed",
        "difference": "skipped",
    }
    assert plan["may_be_applied"]
    assert 500 <= plan["monthly_usd"] <= 1000
    assert plan["missing"] == ["domain", "alert_email", "hosted_zone_id"]
    assert all(len(one["reason"]) > 20 for one in plan["exceptions"])
    assert len(list(tmp_path.glob("pegasus-production-*.json"))) == 6


def test_a_plan_that_may_not_be_applied_says_why_and_ends_with_2(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('like = "production"\nname = "mine"\n[worker]\nmost = 100\n[cache]\nsize = "cache.r6g.large"\n')

    done = run("aws", "plan", "--file", str(file), "--no-checkov")

    assert done.returncode == 2
    assert "connection-budget" in done.stdout
    assert "USD a month; the budget is 1,000." in done.stdout
    assert "Next: Change size and replicas of broker and cache" in done.stdout
    assert "Next: Take a larger database.size" in done.stdout
    assert "may NOT be applied" in done.stdout


def test_without_the_extra_its_installation_is_told(tmp_path: Path):
    """As in an installation without pegasus[aws]: its packages cannot be found."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'troposphere' else find(name, package)\n"
    )

    done = run("aws", "plan", PYTHONPATH=os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))

    assert done.returncode == 2
    assert "pip install 'pegasus[aws]'" in done.stderr


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path):
    file = tmp_path / "taken"
    file.write_text("mine")

    done = run("aws", "plan", "--no-checkov", "--out", str(file / "templates"))

    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: The templates cannot be written to {file / 'templates'}: Not a directory.")
    assert "Next:  Name another --out." in done.stderr
    assert file.read_text() == "mine"


def test_help_costs_nothing_of_it():
    """Of the command line's help, not of the deployment's."""
    modules = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import pegasus.cli"], capture_output=True, text=True, timeout=60
    ).stderr

    assert not [name for name in ("pegasus_aws", "troposphere", "cfnlint", "boto3") if f" {name}" in modules]
    assert "aws" in run("--help").stdout


def test_help_of_the_deployment_is_its_own():
    assert "plan" in run("aws").stdout
    assert "--env" in run("aws", "plan", "--help").stdout


@pytest.mark.parametrize(
    ("stack", "sound", "broken", "rule"),
    [
        ("data", '"StorageEncrypted"', '"StorageEncripted"', "E3002"),
        ("data", '"db.t4g.medium"', '"db.t4g.mediun"', "E3025"),
        ("network", '"GroupId": {"Ref": "ApiSecurityGroup"}', '"GroupId": {"Ref": "ApiGroup"}', "E1020"),
    ],
)
def test_cfn_lint_is_really_asked(stack: str, sound: str, broken: str, rule: str):
    body = json.dumps(system_of(PRODUCTION, synthesise(PRODUCTION)).templates[stack])
    assert sound in body

    found = lint_one(stack, body.replace(sound, broken), "us-east-1")

    assert rule in {one.rule for one in found}


def test_a_warning_stops_a_plan_until_the_resource_says_why():
    template = json.loads(json.dumps(system_of(PRODUCTION, synthesise(PRODUCTION)).templates["data"]))
    template["Resources"]["Database"]["Properties"]["EngineVersion"] = "17.1"

    assert [one.rule for one in lint_one("data", json.dumps(template), "us-east-1")] == ["W3691"]
    template["Resources"]["Database"]["Metadata"] = because(W3691="It is what the restored snapshot was made with.")
    assert lint_one("data", json.dumps(template), "us-east-1") == []


def test_synthesis_of_all_stacks_takes_less_than_a_second_of_a_processor():
    code = "from pegasus_aws.plan.synthesis import *; from pegasus_aws.environments import *; synthesise(PRODUCTION)"
    start = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    end = os.times()

    spent = end.children_user + end.children_system - start.children_user - start.children_system
    # Generous: beside other tests a processor's second is worth half of one.
    assert spent < 4


@pytest.mark.aws
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["dev", "production"])
def test_checkov_finds_nothing_that_has_no_reason(name: str):
    from pegasus_aws.environments import ENVIRONMENTS

    start = time.monotonic()
    try:
        found = check_with_checkov(system_of(ENVIRONMENTS[name], synthesise(ENVIRONMENTS[name])))
    except NotRun as why:
        if REQUIRED:
            pytest.fail(str(why))
        pytest.skip(str(why))

    assert found == []
    assert time.monotonic() - start < 1100


def test_checkov_that_cannot_be_installed_is_skipped_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("Not a directory.")

    with pytest.raises(NotRun, match="could not be installed"):
        check_with_checkov(system_of(PRODUCTION, synthesise(PRODUCTION)))
