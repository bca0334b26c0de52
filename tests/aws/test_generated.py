"""Whatever environment may be written down makes sound templates."""

from __future__ import annotations

import os

import pytest
from aws.generated import environments
from hypothesis import HealthCheck, given, settings

from pegasus_aws.environments import Environment
from pegasus_aws.plan.lint import lint_one
from pegasus_aws.plan.policy import check_policy
from pegasus_aws.plan.synthesis import synthesise, system_of

# cfn-lint takes seconds an environment: a few in make test, two hundred and more in make aws-check.
_LINTED = int(os.environ.get("AWS_ENVIRONMENTS", "2"))
_TIME_IS_NOT_THE_POINT = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=_TIME_IS_NOT_THE_POINT)
@given(environments())
def test_no_environment_breaks_a_rule_but_by_asking_for_more_connections_than_its_database_has(one: Environment):
    found = check_policy(system_of(one, synthesise(one)))

    assert [finding for finding in found if finding.rule != "connection-budget"] == []


@pytest.mark.timeout(7200)
@settings(
    max_examples=_LINTED, deadline=None, derandomize=True, database=None, suppress_health_check=_TIME_IS_NOT_THE_POINT
)
@given(environments())
def test_cfn_lint_finds_nothing_in_any_environment(one: Environment):
    for stack in synthesise(one):
        assert lint_one(stack.name, stack.body(), one.region) == []
