"""What the command line prints for people: tables and answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Json = Mapping[str, Any]

_EXCERPT = 300
_STATE_COLOURS = {"succeeded": "green", "ready": "green", "failed": "red", "dead": "red", "running": "cyan"}


# Wide enough that a table in a file or a pipe is not folded; a terminal has its own width.
_PIPE_WIDTH = 200


def console() -> Console:
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH, soft_wrap=False)


def table(*columns: str) -> Table:
    """Columns named "id" keep their whole width: half an id is of no use to anybody."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, no_wrap=column in ("id", "state"), overflow="fold")
    return made


def state(value: str) -> str:
    colour = _STATE_COLOURS.get(value)
    return f"[{colour}]{value}[/]" if colour else value


def print_passages(passages: Sequence[Json]) -> None:
    out = console()
    if not passages:
        out.print("Nothing was found. Fewer or other words may help; see what there is: pegasus jobs list")
    for number, passage in enumerate(passages, start=1):
        by = ", ".join(f"{name} {rank}" for name, rank in passage["ranks"].items() if rank)
        where = " › ".join(dict.fromkeys([passage["title"], *filter(None, passage["heading"].split(" > "))]))
        out.print(f"[bold]{number}. {escape(where)}[/]  [dim]{by}[/]")
        out.print("   " + escape(_excerpt(passage["text"])))
        out.print(f"   [dim]{passage['document_id']} {passage['start']}-{passage['end']}[/]")


def _excerpt(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _EXCERPT else folded[:_EXCERPT].rsplit(" ", 1)[0] + " …"


def print_answer(answer: Json, *, with_text: bool = True) -> None:
    out = console()
    if with_text:
        out.print(escape(answer["answer"]))
    for number, citation in enumerate(answer["citations"], start=1):
        quote = " ".join(citation["quote"].split())
        out.print(f'  [dim]\\[{number}] {escape(citation["title"])}: "{escape(quote)}"')
        where = f"{citation['document_id']} version {citation['version']}, {citation['start']}-{citation['end']}"
        out.print(f"      [dim]{where}, SHA-256 {citation['sha256'][:12]}…[/]")
    if not answer["found"] and answer["nearest"]:
        out.print("The nearest passages:")
        print_passages(answer["nearest"])


def print_jobs(jobs: Sequence[Json]) -> None:
    made = table("id", "kind", "state", "step", "progress", "attempts", "why")
    for job in jobs:
        why = (job["error"] or {}).get("detail", "")
        made.add_row(
            job["id"], job["kind"], state(job["state"]), job["step"], _progress(job), str(job["attempts"]), escape(why)
        )
    console().print(made)


def _progress(job: Json) -> str:
    done, total = job["progress"].get("done"), job["progress"].get("total")
    return "" if done is None else f"{done}/{total}"


def print_job(job: Json, items: Sequence[Json]) -> None:
    out = console()
    made = table("", "")
    made.show_header = False
    for name in ("id", "kind", "state", "step", "attempts", "document_id", "version", "created_at", "updated_at"):
        made.add_row(name, state(str(job[name])))
    made.add_row("progress", _progress(job))
    if job["error"]:
        made.add_row("why", escape(job["error"]["detail"]))
        made.add_row("next", escape(job["error"].get("hint", "")))
    out.print(made)
    if job["history"]:
        tried = table("#", "step", "began", "ended", "outcome", "why")
        for attempt in job["history"]:
            times = [attempt[name][:19].replace("T", " ") for name in ("started_at", "ended_at")]
            why = escape(attempt["error"].get("detail", ""))
            tried.add_row(str(attempt["number"]), attempt["step"], *times, attempt["outcome"], why)
        out.print("Attempts that ended badly:")
        out.print(tried)
    if items:
        listed = table("#", "item", "outcome", "state", "why")
        for item in items:
            why = (item["error"] or {}).get("detail", "")
            listed.add_row(
                str(item["ordinal"]), escape(item["name"]), item["outcome"], state(item["state"]), escape(why)
            )
        out.print(listed)


def print_keys(keys: Sequence[Json]) -> None:
    made = table("id", "name", "key", "created", "last used", "revoked")
    for key in keys:
        times = [(key[name] or "")[:16].replace("T", " ") for name in ("created_at", "last_used_at", "revoked_at")]
        made.add_row(key["id"], escape(key["name"]), key["hint"] + "…", *times)
    console().print(made)
