"""Every resource of every template says what a rehearsal proves of it."""

from __future__ import annotations

from aws.generated import environments
from hypothesis import HealthCheck, given, settings

from pegasus_aws.environments import DEVELOPMENT, PRODUCTION, Environment, Network
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.rehearsal.grades import GRADES


def types_of(environment: Environment) -> set[str]:
    return {one["Type"] for stack in synthesise(environment) for one in stack.template.to_dict()["Resources"].values()}


@settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(environments())
def test_every_type_of_every_environment_is_graded(one: Environment):
    assert types_of(one) - GRADES.keys() == set()


def test_nothing_is_graded_that_no_template_has():
    public = DEVELOPMENT.model_copy(update={"network": Network(nat_gateways=0)})
    assert GRADES.keys() - types_of(DEVELOPMENT) - types_of(PRODUCTION) - types_of(public) == set()
