"""The command line. Commands parse, call the HTTP interface and print: data on stdout, progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from pegasus.cli import audit, backup, documents, integrity, jobs, keys, schema, service, sources, workspaces
from pegasus.errors import PegasusError
from pegasus.text.lines import visible

app = typer.Typer(
    help="Pegasus: documents in, answers out, every citation checked.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Plain help is instant; the markup would load a third of a second of imports.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    service.up, service.api, service.worker, service.scheduler,
    documents.add, documents.search, documents.ask, documents.erase,
    integrity.check, integrity.rebuild, integrity.compact, backup.backup, backup.restore,
):  # fmt: skip
    app.command()(command)
app.add_typer(jobs.app, name="jobs")
app.add_typer(sources.app, name="sources")
app.add_typer(sources.pipeline, name="pipeline")
app.add_typer(keys.app, name="keys")
app.add_typer(integrity.erasures_app, name="erasures")
app.add_typer(workspaces.app, name="workspaces")
app.add_typer(audit.app, name="audit")
app.add_typer(schema.app, name="schema")


def _version(wanted: bool) -> None:
    if wanted:
        from pegasus import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and a detailed log.")] = False,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Pegasus: documents in, answers out, every citation checked."""
    if debug:
        os.environ["PEGASUS_LOG_LEVEL"] = "debug"


def main() -> None:
    """Run a command; every expected failure becomes what happened, the next step and a truthful exit code."""
    try:
        app()
    except PegasusError as error:
        if "--debug" in sys.argv:
            raise
        if "--json" in sys.argv:
            print(json.dumps(error.problem()))
        print(f"Error: {visible(error.detail)}", file=sys.stderr)
        if error.hint:
            print(f"Next:  {visible(error.hint)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # The reader of our output has gone, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
