"""Writes the reference pages and pictures from the code, and tells which of them are out of step with it.

``python -m docs.generate`` writes, ``python -m docs.generate --check`` only compares.
"""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le
from pydantic import BaseModel

from docs.pictures import benchmarks, house
from docs.reference.costs import costs_page, costs_picture
from docs.reference.http import http_page
from docs.reference.markdown import MARK, Json, code, prose, table
from pegasus import errors, migrations
from pegasus.api import create_api
from pegasus.application import Application
from pegasus.cli import app as cli
from pegasus.migrations import lint
from pegasus.settings import Settings
from pegasus.text import epub, formats, html, mail, markdown, records
from pegasus_aws.cli import app as aws_cli
from pegasus_aws.diagram.drawing import draw
from pegasus_aws.environments import PRODUCTION, Google, Neo4j

ROOT = Path(__file__).parents[1]

_GIVES: Mapping[str, object] = {
    formats.PDF: "The text layer, with the headings that the layout shows. A scan has no text layer: it is refused.",
    formats.DOCX: "Paragraphs, lists with their numbers, tables cell by cell; headings and links.",
    formats.PPTX: "The slides in order: titles as headings, lists, tables; links.",
    formats.XLSX: "Each row of each sheet as lines of `header: value`; the names of the sheets as headings.",
    formats.TEXT: "The text as it is written.",
    formats.ZIP: "Each file in it as a document of its own; one that cannot be read does not stop the rest.",
    # These readers say it themselves.
    formats.HTML: html.read_html,
    formats.MARKDOWN: markdown.read_markdown,
    formats.CSV: records.read_csv,
    formats.JSON: records.read_json,
    formats.EML: mail.read_mail,
    formats.EPUB: epub.read_epub,
}
_REACHED = {True: "reached", False: "**missed**", None: ""}


def main(arguments: Sequence[str], folder: Path = ROOT / "docs", results: Path = ROOT / "bench/results.json") -> int:
    pages = {folder / name: content for name, content in generated(results).items()}
    stale = [page for page, content in pages.items() if not page.is_file() or page.read_text("utf-8") != content]
    if "--check" in arguments:
        for page in stale:
            print(f"{page.relative_to(folder.parent)} is out of step with the code. Mend it with: make docs")
        return 1 if stale else 0
    for page in stale:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(pages[page], "utf-8")
        print(f"wrote {page.relative_to(folder.parent)}")
    return 0


def generated(results: Path) -> dict[str, str]:
    """Every page by its path below docs/; those of the measurements only when there are results."""
    # The defaults without the environment: a page must not depend on whose machine writes it.
    stand_in = SimpleNamespace(settings=Settings.model_construct())
    api = create_api(cast("Application", stand_in)).openapi()
    pages = {
        "reference/cli.md": cli_page(),
        "reference/http.md": http_page(api),
        "reference/openapi.json": json.dumps(api, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        "reference/settings.env": settings_file(),
        "reference/environment.toml": environment_file(),
        "reference/errors.md": errors_page(),
        "reference/formats.md": formats_page(),
        "reference/schema.md": schema_page(),
        "reference/costs.md": costs_page(),
        "pictures/costs.svg": costs_picture(),
        "pictures/house.svg": house.draw(ROOT / "src/pegasus"),
        "pictures/aws-architecture.svg": draw(PRODUCTION, "architecture"),
        "pictures/aws-reachability.svg": draw(PRODUCTION, "reachability"),
    }
    if results.is_file():
        measured = json.loads(results.read_text("utf-8"))
        pages["reference/benchmarks.md"] = benchmarks_page(measured)
        pages["pictures/benchmarks.svg"] = benchmarks.draw(measured)
    return pages


def cli_page() -> str:
    head = (
        "# The command line\n\nData goes to stdout, progress and errors to stderr, so that output can be piped. "
        "A command finds the running server of its data directory; without one it starts its own for as long as it "
        "takes. An error says what happened and, after `Next:`, what to do; with `--debug` it shows the traceback. "
        "Every command explains itself with `--help`.\n\n"
    )
    codes = table(("exit code", "meaning"), (
        ("0", "Success."),
        ("1", "It failed, in whole or in part: a document could not be read, a job is dead, nothing answers."),
        ("2", "The input or the configuration is wrong."),
        ("130", "Interrupted with Ctrl-C."),
        ("141", "The program that read the output has gone, as `head` does."),
    ))  # fmt: skip
    return (MARK + head + codes + "".join(_both_halves())).rstrip("\n") + "\n"


def _both_halves() -> Iterator[str]:
    """The deployment's commands stand where its one door is."""
    yield from _commands(typer.main.get_command(cli), "pegasus")
    for sub in typer.main.get_command(aws_cli).commands.values():  # type: ignore[attr-defined]
        yield from _commands(sub, f"pegasus aws {sub.name}")


def _commands(command: Any, name: str) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join((name, *command.collect_usage_pieces(context)))
    yield f"## {name}\n\n{prose(command.help)}\n\n```\n{usage}\n```\n\n"
    for columns in (("argument", "meaning"), ("option", "meaning", "default")):
        if given := [parameter for parameter in command.params if parameter.param_type_name == columns[0]]:
            yield table(columns, (_parameter(parameter, context)[: len(columns)] for parameter in given))
    for sub in getattr(command, "commands", {}).values():
        yield from _commands(sub, f"{name} {sub.name}")


def _parameter(parameter: Any, context: Any) -> tuple[str, str, str]:
    name = parameter.get_help_record(context)[0].replace("list[str]", "str").replace("int range", "int")
    if parameter.param_type_name == "argument":
        name = name.partition(" <")[0]
    bounds = f" From {parameter.min} to {parameter.max}." if None not in (parameter.min, parameter.max) else ""
    default = parameter.default
    if getattr(parameter, "is_flag", False):  # One without an opposite is off: that goes without saying.
        default = (parameter.opts if default else parameter.secondary_opts)[0] if parameter.secondary_opts else None
    return code(name), f"{parameter.help or ''}{bounds}", "" if default is None else code(default)


def settings_file() -> str:
    head = (
        "Every setting of Pegasus with its default. Nothing need be set.",
        "Set one in the environment; or copy this file, take the mark from a line, and name the copy in "
        "PEGASUS_SETTINGS_FILE. An option of a command goes before the environment, the environment before the file. "
        "A line that ends in = stands for a setting without a value.",
        "docs/generate.py wrote this file from src/pegasus/settings.py: make docs writes it again.",
    )
    parts = ["\n#\n".join(map(_comment, head))]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        facts = (field.description, *_limits(name, field.annotation, field.metadata, default))
        variable = field.validation_alias or f"PEGASUS_{name.upper()}"
        parts.append(f"{_comment(' '.join(filter(None, facts)))}\n# {variable}={default}")
    return "\n\n".join(parts) + "\n"


def environment_file() -> str:
    head = (
        "Every value of an environment of your own, with what it is in production. Copy this file, change its name and "
        "what else you like, and leave out what is to be as in the environment that `like` names.",
        "pegasus aws plan --file FILE shows what would be built. docs/generate.py wrote this file from "
        "src/pegasus_aws/environments.py: make docs writes it again.",
    )
    parts = ["\n#\n".join(map(_comment, head)), 'like = "production"', *_values(PRODUCTION, "")]
    for name, other in (("graph", Neo4j()), ("google", Google(project_id="my-project", agent_engine_id="1234567890"))):
        lines = "\n\n".join((f"Instead, or besides, for {type(other).__name__}:", *_values(other, name))).splitlines()
        parts.append("\n".join(line if line.startswith("#") else f"# {line}".rstrip() for line in lines))
    return "\n\n".join(parts) + "\n"


def _values(values: BaseModel, table_name: str) -> Iterator[str]:
    """Values first, tables after them, as TOML wants it; what is not there by default is shown as a comment."""
    fields = type(values).model_fields
    tables = {name: getattr(values, name) for name in fields if isinstance(getattr(values, name), BaseModel)}
    if table_name:
        yield f"[{table_name}]"
    for name, field in fields.items():
        value = getattr(values, name)
        if name in tables:
            continue
        words = " ".join(filter(None, (field.description, *_limits(name, field.annotation, field.metadata, value))))
        line = f"# {name} =" if value is None else f"{name} = {json.dumps(value)}"
        yield "\n".join(filter(None, (_comment(words) if words else "", line)))
    for name, below in tables.items():
        yield from _values(below, name)


def _comment(words: str) -> str:
    return textwrap.fill(words, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _limits(name: str, kind: Any, metadata: Sequence[object], default: object) -> Iterator[str]:
    """What the type says of a setting, and large numbers in words."""
    if get_origin(kind) is Literal and len(get_args(kind)) > 1:
        yield f"One of: {', '.join(map(str, get_args(kind)))}."
    if name.endswith("_bytes"):
        yield f"The default is {_amount(default)}."
    for bound in metadata:
        match bound:
            case Ge(ge=least):
                yield f"At least {_amount(least)}."
            case Gt(gt=least):
                yield f"More than {least}."
            case Le(le=most):
                yield f"At most {most}."


def _amount(value: Any) -> str:
    units = ((2**30, "GiB"), (2**20, "MiB"))
    return next((f"{value // size} {unit}" for size, unit in units if value >= size and value % size == 0), str(value))


def errors_page() -> str:
    head = (
        "# Errors\n\nEvery failure has the same form wherever it shows: as `application/problem+json` over HTTP "
        "(RFC 9457), in the `error` of a job, and with `--json` on the command line. Rely on `type`, which does not "
        "change; `detail` and `hint` are for people. Where a retry may help, HTTP answers carry `Retry-After` and jobs "
        "try again by themselves. Only what the web framework answers, as to an unknown path, has the type "
        "`about:blank`.\n\n"
    )
    example = errors.NotFound("There is no document 0198c3f2.", hint="List the documents with GET /v1/documents.")
    classes = (value for value in vars(errors).values() if inspect.isclass(value))
    rows = (
        (code(f"urn:pegasus:problem:{family.code}"), family.title, str(family.status), str(family.exit_code),
         "yes" if family.retryable else "no", _meaning(family))
        for family in classes if issubclass(family, errors.PegasusError)
    )  # fmt: skip
    columns = ("type", "title", "HTTP status", "exit code", "a retry may help", "meaning")
    shown = f"For example:\n\n```json\n{json.dumps(example.problem(), indent=2)}\n```\n"
    return MARK + head + table(columns, rows) + shown


def _meaning(family: type[errors.PegasusError]) -> str:
    if family is errors.PegasusError:
        return "Nobody expected it. The log tells more."
    return prose(family.__dict__.get("__doc__")).partition("\n")[0]


def formats_page() -> str:
    head = (
        "# Formats\n\nThe content of a file tells what it is. Among texts, which have no signature, the name decides, "
        "then the declared type, then a look at the text. A file whose name promises another content than it has is "
        "refused with both said. Texts are UTF-8, or what a byte order mark or a declared charset says.\n\n"
    )
    rows = (
        (name, code(kind), ", ".join(map(code, _extensions(kind))), _gives(_GIVES[kind]))
        for kind, name in formats.NAMES.items()
    )
    foot = "Limits of size and time: `PEGASUS_MAX_UPLOAD_BYTES` and its neighbours in [settings.env](settings.env).\n"
    return MARK + head + table(("format", "media type", "names", "what it gives"), rows) + foot


def _extensions(kind: str) -> list[str]:
    promised = {**formats._TEXT_EXTENSIONS, **formats._BINARY_EXTENSIONS}
    return [extension for extension, promise in promised.items() if promise in (kind, formats.NAMES[kind])]


def _gives(source: object) -> str:
    return source if isinstance(source, str) else prose(inspect.getdoc(source)).partition("\n\n")[0]


def schema_page() -> str:
    head = (
        "# The schema\n\nThe schema of the rows comes forward in steps. An expand step adds what older code takes no "
        "notice of. A contract step takes away what newer code does not use any more; after it only code from the "
        "revision in the last column on runs. [How to upgrade a running system](../how-to/upgrade.md).\n\n"
    )
    steps = (
        (migration.revision, migration.step.phase, migration.title, migration.compatible_from)
        for migration in migrations.chain()
    )
    rules = (
        "## What a step may not do\n\nA test holds every step against these rules. Where one need not hold, the step "
        'says why: `accepts={"rule": "reason"}`.\n\n'
    )
    refusals = ((code(rule), why) for rule, why in lint.RULES.items())
    return (
        MARK
        + head
        + table(("revision", "phase", "what it brings", "runs with code from"), steps)
        + rules
        + table(("rule", "why, and what to do instead"), refusals)
    )


def _target(bench: str) -> str:
    on_servers = ("requests", "jobs", "workers", "search-server", "soak")
    return "bench-server" if bench in on_servers else "bench"


def benchmarks_page(results: Json) -> str:
    page = (
        f"# Benchmarks\n\nMeasured on {results['date']} with {results['machine']}. `make bench` prints all of it and "
        "fails when a goal is missed; the command below a heading prints that part.\n\n"
    )
    if results["plots"]:
        page += "![Quality of each way of searching, and memory by size](../pictures/benchmarks.svg)\n\n"
    for bench in dict.fromkeys(figure["bench"] for figure in results["figures"]):
        rows = (
            (figure["what"], figure["value"], figure["goal"], _REACHED[figure["reached"]], figure["beside"])
            for figure in results["figures"]
            if figure["bench"] == bench
        )
        page += f"## {bench.capitalize()}\n\n```sh\nmake {_target(bench)} BENCH={bench}\n```\n\n"
        page += table(("what", "measured", "goal", "", "beside it"), rows)
    return MARK + page.rstrip("\n") + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
