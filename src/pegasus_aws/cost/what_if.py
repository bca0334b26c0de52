"""Other values for an environment, as they are written on a command line: ``database.size=db.r6g.large``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pegasus.errors import Invalid
from pegasus_aws.environments import Environment, with_values


def changed(environment: Environment, assignments: Sequence[str]) -> Environment:
    """The environment with these values, checked as those of a file are. Raises ``Invalid``."""
    there = environment.model_dump()
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not all(key.split(".")):
            raise Invalid(
                f"{assignment!r} is no KEY=VALUE.", hint="For example: --what-if worker.least=3, --usage sent_gb=200."
            )
        _put(values, key.split("."), _value(text, _at(there, key.split("."))))
    return with_values(environment, values)


def _put(values: dict[str, Any], way: Sequence[str], value: Any) -> None:
    *tables, last = way
    for name in tables:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise Invalid(f"{name} is given as one value and as several.", hint="Give it once.")
    values[last] = value


def _at(there: Any, way: Sequence[str]) -> Any:
    for name in way:
        there = there.get(name) if isinstance(there, Mapping) else None
    return there


def _value(text: str, there: Any) -> Any:
    """What stands for a text is a text; anything else is written as in a file."""
    if isinstance(there, str):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
