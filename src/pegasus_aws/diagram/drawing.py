"""From an environment to a picture of it, and to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pegasus.errors import Invalid
from pegasus_aws.diagram import architecture, reachability
from pegasus_aws.diagram.png import as_png
from pegasus_aws.environments import Environment
from pegasus_aws.plan.policy.system import System
from pegasus_aws.plan.synthesis import synthesise, system_of

Kind = Literal["architecture", "reachability"]
_DRAWN: Mapping[Kind, Callable[[System], str]] = {"architecture": architecture.draw, "reachability": reachability.draw}


def draw(environment: Environment, kind: Kind) -> str:
    """The picture as SVG."""
    return _DRAWN[kind](system_of(environment, synthesise(environment)))


def write(svg: str, file: Path) -> None:
    """Raises ``Invalid`` where the name is of neither kind, or cannot be written."""
    suffix = file.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise Invalid(f"{file} is the name of neither an SVG nor a PNG.", hint="End it in .svg or .png.")
    try:
        file.write_bytes(as_png(svg) if suffix == ".png" else svg.encode())
    except OSError as error:
        raise Invalid(f"{file} cannot be written: {error.strerror}.", hint="Name another file.") from error
