"""Options that the commands for AWS share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pegasus_aws.environments import Environment

Env = Annotated[str, typer.Option("--env", help="dev or production.")]
File = Annotated[Path | None, typer.Option("--file", help="An environment of your own, instead of --env.")]


def environment_of(env: str, file: Path | None) -> Environment:
    from pegasus_aws.environments import load, named

    return load(file) if file else named(env)
