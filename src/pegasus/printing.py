"""What the command line prints for people: tables and answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pegasus.text.lines import visible

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


def plain(text: str) -> str:
    """Text of somebody's document or file name, to be printed as it is: neither markup nor commands to the terminal."""
    return escape(visible(text))


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
        out.print(f"[bold]{number}. {plain(where)}[/]  [dim]{by}[/]")
        out.print("   " + plain(_excerpt(passage["text"])))
        out.print(f"   [dim]{passage['document_id']} {passage['start']}-{passage['end']}[/]")


def _excerpt(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _EXCERPT else folded[:_EXCERPT].rsplit(" ", 1)[0] + " …"


def print_answer(answer: Json, *, with_text: bool = True) -> None:
    out = console()
    if with_text:
        out.print(plain(answer["answer"]))
    for number, citation in enumerate(answer["citations"], start=1):
        quote = " ".join(citation["quote"].split())
        out.print(f'  [dim]\\[{number}] {plain(citation["title"])}: "{plain(quote)}"')
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
            job["id"], job["kind"], state(job["state"]), job["step"], _progress(job), str(job["attempts"]), plain(why)
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
        made.add_row("why", plain(job["error"]["detail"]))
        made.add_row("next", plain(job["error"].get("hint", "")))
    out.print(made)
    if job["history"]:
        tried = table("#", "step", "began", "ended", "outcome", "why")
        for attempt in job["history"]:
            times = [attempt[name][:19].replace("T", " ") for name in ("started_at", "ended_at")]
            why = plain(attempt["error"].get("detail", ""))
            tried.add_row(str(attempt["number"]), attempt["step"], *times, attempt["outcome"], why)
        out.print("Attempts that ended badly:")
        out.print(tried)
    if items:
        listed = table("#", "item", "outcome", "state", "why")
        for item in items:
            why = (item["error"] or {}).get("detail", "")
            listed.add_row(str(item["ordinal"]), plain(item["name"]), item["outcome"], state(item["state"]), plain(why))
        out.print(listed)


def print_keys(keys: Sequence[Json]) -> None:
    made = table("id", "name", "scope", "key", "created", "expires", "last used", "revoked", "limits")
    for key in keys:
        times = [_minute(key[name]) for name in ("created_at", "expires_at", "last_used_at", "revoked_at")]
        size = f"{key['max_body_bytes']:,} bytes" if key["max_body_bytes"] else None
        limits = ", ".join(filter(None, (key["rate_limit"], size)))
        made.add_row(key["id"], plain(key["name"]), key["scope"], key["hint"] + "…", *times, limits)
    console().print(made)


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")


def print_workspaces(workspaces: Sequence[Json]) -> None:
    made = table("id", "name", "created", "")
    for workspace in workspaces:
        erasing = "is being erased" if workspace["erasing_at"] else ""
        made.add_row(workspace["id"], plain(workspace["name"]), _minute(workspace["created_at"]), erasing)
    console().print(made)


def print_audit_events(events: Sequence[Json]) -> None:
    made = table("at", "action", "outcome", "subject", "key", "request")
    for event in events:
        at = event["at"][:19].replace("T", " ")
        made.add_row(
            at, event["action"], event["outcome"], event["subject_id"], event["key_id"] or "", event["request_id"] or ""
        )
    console().print(made)


def print_report(report: Json, *, repaired: bool) -> None:
    """What a check found, by document; then what to do about it."""
    out = console()
    if report["differences"]:
        made = table("store", "document", "what")
        for difference in report["differences"]:
            where = f"{difference['store']}: {difference['kind']}"
            made.add_row(where, difference["document_id"] or "", plain(difference["detail"]))
        out.print(made)
    checked = ", ".join(f"{n:,} {name}" for name, n in report["checked"].items()) or "nothing"
    took = f"Compared {checked} in {report['took_ms'] / 1000:.1f} s."
    if connections := report.get("connections"):  # A server of an older version does not tell.
        between = ", a pooler between" if connections["pooled"] else ""
        out.print(
            f"Each process takes {connections['each']} connections to PostgreSQL at most;"
            f" it has {connections['available']}{between}."
        )
    total = sum(report["counts"].values())
    if report["consistent"]:
        out.print(f"[green]The stores agree.[/] {took}")
        return
    out.print(f"[red]{total:,} differences.[/] {took}")
    out.print("Next: " + ("restore what could not be mended from a backup." if repaired else "pegasus check --repair"))


def print_results(results: Sequence[Json]) -> None:
    """What a repair did about each difference."""
    out = console()
    for result in results:
        failed = result["outcome"] == "left" or result["state"] in ("failed", "dead")
        mark = "[red]not mended[/]" if failed else "[green]mended[/]"
        out.print(f"{mark} {plain(result['name'])} [dim]{result['document_id'] or ''}[/]")
        if result["error"]:
            out.print(f"   {plain(result['error']['detail'])} Next: {plain(result['error'].get('hint') or '')}")


def print_erasures(receipts: Sequence[Json]) -> None:
    out = console()
    if not receipts:
        out.print("Nothing was erased yet.")
        return
    made = table("state", "id", "of", "requested")
    for receipt in receipts:
        made.add_row(receipt["state"], receipt["subject_id"], receipt["scope"], receipt["requested_at"])
    out.print(made)


def print_erasure(receipt: Json) -> None:
    out = console()
    out.print(f"Erasure of the {receipt['scope']} {receipt['subject_id']}: {receipt['state']}")
    for name in ("requested_at", "verified_at", "purged_at"):
        out.print(f"  {name.removesuffix('_at'):<10} {receipt[name] or 'not yet'}")
    removed = ", ".join(f"{n} {name}" for name, n in receipt["removed"].items())
    out.print(f"  removed    {removed or 'nothing yet'}")
    for look in receipt["looks"]:
        out.print(f"  looked in  {look['store']} for {look['looked_for']}: {look['left'] or 'nothing'} found")
    for backup in receipt["backups"]:
        until = f"to be deleted {_minute(backup['expires_at'])}" if backup["expires_at"] else "no end was said"
        made = _minute(backup["created_at"])
        out.print(f"  may be in  the backup {plain(backup['name'])} of {made}: {until}", soft_wrap=True)
    if receipt["state"] == "verified":
        out.print("Next: pegasus compact, after which no byte of it is left in the free space of the stores.")


def print_sources(sources: Sequence[Json]) -> None:
    made = table("name", "kind", "state", "documents", "every", "next run", "why")
    for source in sources:
        job = source["job"] or {"state": "never run", "error": None}
        why = (job["error"] or {}).get("detail", "")
        every = f"{source['every_seconds']} s" if source["every_seconds"] else ""
        next_run = (source["next_run_at"] or "")[:16].replace("T", " ")
        made.add_row(
            plain(source["name"]), source["kind"], state(job["state"]), str(source["documents"]), every, next_run,
            plain(why),
        )  # fmt: skip
    console().print(made)


def print_runs(runs: Sequence[Json]) -> None:
    """A line a run, then what went wrong in it."""
    out = console()
    counts = ("created", "updated", "unchanged", "erased", "failed", "held")
    made = table("source", "state", *counts)
    for run in runs:
        made.add_row(plain(run["source"]), state(run["state"]), *(str(run[name]) for name in counts))
    out.print(made)
    for run in runs:
        for problem in [*run["errors"], *([run["error"]] if run["error"] else [])]:
            out.print(f"{plain(run['source'])}: {plain(problem['detail'])}")
            if problem.get("hint"):
                out.print(f"  Next: {plain(problem['hint'])}")


def print_backup(made: Json) -> None:
    counts = ", ".join(f"{n:,} {name}" for name, n in made["counts"].items())
    size = made["size_bytes"] / 2**20
    print(f"{made['file']}: {counts}, {size:,.1f} MiB, in {made['seconds']:.1f} s.")
    print(f"SHA-256: {made['sha256']}")
    print(f"See that it can be restored: pegasus restore {made['file']} --drill", file=sys.stderr)


def print_schema(report: Json) -> None:
    print(f"Schema:       {report['revision'] or 'not made yet'}")
    print(f"This version: {report['head']}")
    if not report["runs"]:
        print("The schema is of a newer version, and this one does not run on it.")
    elif report["newer"]:
        print("The schema is of a newer version; this one runs on it.")
    else:
        print_steps("Pending", report["pending"])
    if any(step["phase"] == "expand" for step in report["pending"]):
        print("Next: pegasus schema upgrade")
    elif report["pending"]:
        print("Next, when no older version runs and none will be gone back to: pegasus schema upgrade --contract")


def print_roles(report: Json) -> None:
    print(f"Owner:    {plain(report['owner'])}")
    print(f"Logins:   {', '.join(map(plain, report['logins']))}")
    print(f"Made:     {', '.join(map(plain, report['made'])) or 'nothing'}")
    print(f"Password: {'set' if report['password_set'] else 'left as it is'}")


def print_steps(what: str, steps: Sequence[Json]) -> None:
    print(f"{what + ':':<13} {'' if steps else 'nothing'}".rstrip())
    for step in steps:
        print(f"  {step['revision']}  {step['phase']:<8}  {plain(step['title'])}")


def print_drift(drift: Sequence[str]) -> None:
    """What is not as the steps make it."""
    print("Drift:" if drift else "Drift:        none")
    for line in drift:
        print(f"  {visible(line)}")


def print_restored(report: Json, directory: Path) -> None:
    """What a restore or a drill has done, and how long each step took."""
    archive = report["archive"]
    print(f"Archive: {archive['created_at'][:19].replace('T', ' ')} UTC, by Pegasus {archive['pegasus']}, "
          f"{archive['rows'].get('documents', 0):,} documents, {archive['rows'].get('passages', 0):,} passages, "
          f"{archive['files']:,} files.")  # fmt: skip
    print("Took:    " + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in report["seconds"].items()))
    if "passed" not in report:
        print(f"Restored into {directory}. Serve it with: pegasus up")
        return
    print(f"Drill:   {report['found']} of {report['searches']} passages found by their words, "
          f"{report['verified']} of {report['citations']} citations verified.")  # fmt: skip
    print("PASSED: this backup can be restored." if report["passed"] else "FAILED: do not rely on this backup.")
