"""Commands about jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pegasus.cli.options import Data, Json, client_for, print_json

app = typer.Typer(help="See, retry and cancel jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The id of a job; see: pegasus jobs list.")]


@app.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, dead or cancelled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many jobs to list.")] = 20,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    with client_for(data) as client:
        page = client.call("GET", "/v1/jobs", params={"limit": limit} | ({"state": state} if state else {}))
    if as_json:
        print_json(page)
        return
    from pegasus.printing import print_jobs

    print_jobs(page["items"])


@app.command("show")
def show_job(job_id: JobId, data: Data = None, as_json: Json = False) -> None:
    """Show one job, and the items of a batch or archive."""
    with client_for(data) as client:
        job = client.call("GET", f"/v1/jobs/{job_id}")
        items = list(client.lines(f"/v1/jobs/{job_id}/results"))
    if as_json:
        print_json({**job, "items": items})
        return
    from pegasus.printing import print_job

    print_job(job, items)


@app.command("retry")
def retry_job(
    job_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The id of a job.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Queue all dead letters again, without following them.")] = False,
    kind: Annotated[str | None, typer.Option(help="With --dead: only jobs of this kind, as ingest.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Queue a failed, dead or cancelled job again, and follow it; or all dead letters."""
    if dead == bool(job_id):
        raise typer.BadParameter("Give the id of a job, or --dead.")
    if job_id:
        _act_on_job(job_id, "retry", data, as_json)
        return
    with client_for(data) as client:
        answer = client.call("POST", "/v1/jobs/retry", params={"kind": kind} if kind else {})
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['retried']} dead letters were queued again. Next: pegasus jobs list")


@app.command("cancel")
def cancel_job(job_id: JobId, data: Data = None, as_json: Json = False) -> None:
    """Stop a queued or running job."""
    _act_on_job(job_id, "cancel", data, as_json)


def _act_on_job(job_id: str, action: str, data: Path | None, as_json: bool) -> None:
    from pegasus.upload import follow

    with client_for(data) as client:
        client.call("POST", f"/v1/jobs/{job_id}/{action}")
        (job,) = follow(client, [job_id], "Following")
    if as_json:
        print_json(job)
    else:
        print(f"The job {job['id']} is {job['state']}.")
    if job["state"] in ("failed", "dead"):
        raise typer.Exit(1)
