"""Each rule finds what is planted for it, says how to mend it, and finds nothing in what is sound."""

from __future__ import annotations

import json

import pytest
from aws.planted import PLANTED, Planted, put

from pegasus_aws.environments import ENVIRONMENTS, Environment
from pegasus_aws.plan.policy import System, check_policy, exceptions, rules
from pegasus_aws.plan.synthesis import synthesise, system_of


@pytest.fixture(scope="module")
def sound() -> dict[str, str]:
    """Templates as text, so that no test changes what another one looks at."""
    return {
        name: json.dumps(dict(system_of(environment, synthesise(environment)).templates))
        for name, environment in ENVIRONMENTS.items()
    }


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_comes_with_pegasus_breaks_no_rule(name: str, sound: dict[str, str]):
    assert check_policy(System(ENVIRONMENTS[name], json.loads(sound[name]))) == []


@pytest.mark.parametrize("planted", PLANTED, ids=lambda one: f"{one.rule}: {one.name}")
def test_a_planted_violation_is_found_and_its_mending_told(planted: Planted, sound: dict[str, str]):
    templates = json.loads(sound[planted.environment])
    planted.change(templates)

    found = check_policy(System(ENVIRONMENTS[planted.environment], templates))

    assert planted.rule in {one.rule for one in found}
    assert all(one.hint.endswith(".") and len(one.hint) > 15 and one.message for one in found)


def test_every_rule_has_something_planted_for_it():
    assert {one.name for one in rules()} == {one.rule for one in PLANTED} | {"connection-budget"}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"api": {"most": 60}}, "want"),
        ({"worker": {"most": 100}}, "want"),
        ({"database": {"connections": 20}}, "want"),
        ({"database": {"size": "db.x9.tiny"}}, "not known"),
    ],
)
def test_more_connections_than_the_database_has_are_refused(values: dict[str, dict[str, object]], says: str):
    environment = _changed(ENVIRONMENTS["production"], values)

    found = check_policy(system_of(environment, synthesise(environment)))

    assert [one.rule for one in found] == ["connection-budget"]
    assert says in found[0].message


def test_a_written_reason_is_taken_and_shown(sound: dict[str, str]):
    templates = json.loads(sound["production"])
    put("data", "DataKey", "EnableKeyRotation", False)(templates)
    templates["data"]["Resources"]["DataKey"]["Metadata"]["pegasus"]["key-rotation"] = "The key is somebody else's."
    system = System(ENVIRONMENTS["production"], templates)

    assert check_policy(system) == []
    assert "The key is somebody else's." in {one["reason"] for one in exceptions(system)}


def _changed(environment: Environment, values: dict[str, dict[str, object]]) -> Environment:
    given = environment.model_dump()
    for table, changes in values.items():
        given[table] |= changes
    return Environment.model_validate(given)
