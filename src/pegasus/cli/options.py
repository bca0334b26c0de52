"""What the commands share: their options, the client that they call, how they print."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pegasus.text.lines import visible

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pegasus.client import Client
    from pegasus.ports import Progress
    from pegasus.settings import Settings

Data = Annotated[Path | None, typer.Option("--data", help="Data directory (PEGASUS_DATA; default ~/.pegasus).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag; may be given several times.")]


def settings_for(**overrides: Any) -> Settings:
    """The settings, with a command's options before the environment; the log is set up by them."""
    from pegasus.settings import load_settings
    from pegasus.telemetry import configure_logging

    settings = load_settings(**overrides)
    configure_logging(settings.log_level, settings.log_format)
    return settings


def quiet_settings(data: Path | None, log_level: str = "error") -> Settings:
    """As ``settings_for``; a command that serves itself has nothing to log that its output does not tell."""
    quiet = {} if os.environ.get("PEGASUS_LOG_LEVEL") else {"log_level": log_level}
    return settings_for(data=data, **quiet)


@contextmanager
def client_for(data: Path | None) -> Iterator[Client]:
    from pegasus.client import connected

    with connected(quiet_settings(data)) as client:
        yield client


def print_json(value: Any) -> None:
    print(visible(json.dumps(value, indent=2, ensure_ascii=False)))


def pages(client: Client, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Every item of a list, page by page."""
    given = {name: value for name, value in parameters.items() if value is not None}
    cursor: str | None = None
    while True:
        page = client.call("GET", path, params={**given, "limit": 200, **({"cursor": cursor} if cursor else {})})
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A bar on stderr for each thing that is told to be done."""
    from pegasus.upload import progress_bar

    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield show
