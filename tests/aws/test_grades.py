"""Every resource of every template says what a rehearsal proves of it."""

from __future__ import annotations

from aws.generated import environments
from hypothesis import HealthCheck, given, settings

from pegasus_aws.environments import DEVELOPMENT, PRODUCTION, Environment, Network
from pegasus_aws.plan.synthesis import synthesise
from pegasus_aws.rehearsal.grades import grades


def types_of(environment: Environment) -> set[str]:
    return {one["Type"] for stack in synthesise(environment) for one in stack.template.to_dict()["Resources"].values()}


@settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(environments())
def test_every_type_of_every_environment_is_graded(one: Environment):
    assert types_of(one) - grades(engine=False).keys() == set()


def test_nothing_is_graded_that_no_template_has():
    public = DEVELOPMENT.model_copy(update={"network": Network(nat_gateways=0)})
    ours = types_of(DEVELOPMENT) | types_of(PRODUCTION) | types_of(public)
    assert grades(engine=True).keys() == grades(engine=False).keys() == ours


def test_without_an_engine_nothing_is_run_that_takes_one():
    without, with_one = (
        {type_ for type_, grade in grades(engine=engine).items() if grade.level == "run"} for engine in (False, True)
    )
    assert without < with_one
    assert not any(type_.startswith(("AWS::ECS::", "AWS::RDS::", "AWS::ElastiCache::")) for type_ in without)
