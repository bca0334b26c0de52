"""The command line. Commands parse, call the HTTP interface and print: data on stdout, progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pegasus.errors import Conflict, PegasusError

if TYPE_CHECKING:
    from pegasus.client import Client
    from pegasus.settings import Settings

app = typer.Typer(
    help="Pegasus: documents in, answers out, every citation checked.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Plain help is instant; the markup would load a third of a second of imports.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
jobs_app = typer.Typer(help="See, retry and cancel jobs.", no_args_is_help=True)
keys_app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
app.add_typer(keys_app, name="keys")

Data = Annotated[Path | None, typer.Option("--data", help="Data directory (PEGASUS_DATA; default ~/.pegasus).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag; may be given several times.")]
Since = Annotated[str | None, typer.Option(help="Only documents added at this time or later, as 2026-01-31.")]
Until = Annotated[str | None, typer.Option(help="Only documents added before this time.")]

JobId = Annotated[str, typer.Argument(metavar="ID", help="The id of a job; see: pegasus jobs list.")]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The id of a key; see: pegasus keys list.")]


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
        print(f"Error: {error.detail}", file=sys.stderr)
        if error.hint:
            print(f"Next:  {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # The reader of our output has gone, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _settings(**overrides: Any) -> Settings:
    from pegasus.settings import load_settings
    from pegasus.telemetry import configure_logging

    settings = load_settings(**overrides)
    configure_logging(settings.log_level, settings.log_format)
    return settings


@contextmanager
def _client(data: Path | None) -> Iterator[Client]:
    from pegasus.client import connected

    # A command's own short-lived server has nothing to tell that its output does not.
    quiet = {} if os.environ.get("PEGASUS_LOG_LEVEL") else {"log_level": "error"}
    with connected(_settings(data=data, **quiet)) as client:
        yield client


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Add sample documents and ask a question.")] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default 8000; 0 takes a free one).")] = None,
    data: Data = None,
) -> None:
    """Serve everything in one process, on stores in the data directory."""
    from pegasus.bootstrap import embedded, local_access
    from pegasus.client import Client, running_server
    from pegasus.data_directory import holder
    from pegasus.demo import show_demo
    from pegasus.server import address_of, announced, listen, serve

    settings = _settings(data=data, host=host, port=port)
    if running := running_server(settings.data):
        raise Conflict(
            f"Pegasus is running on {settings.data} already, at {running} (process {holder(settings.data)}).",
            hint="Use it, stop it, or give another directory with --data.",
        )
    # The port first: it is what most often is not to be had, and the stores take seconds to open.
    with listen(settings.host, settings.port) as bound, embedded(settings) as application:
        address = address_of(bound)
        access = local_access(application, settings.data)

        def started() -> None:
            print(f"Pegasus is ready at {address}  (API page: {address}/docs)")
            print(f"Data:    {settings.data}")
            print(f"API key: {access.key}  (the command line finds it by itself)", flush=True)
            if demo:
                client = Client(address, access.key)
                show_demo(client, print)
                client.close()
            print("Stop with Ctrl-C.", flush=True)

        with announced(settings.data, address):
            serve(application, bound, started)


@app.command()
def add(
    sources: Annotated[list[str], typer.Argument(help="Files, folders, ZIPs, or http(s) URLs.", metavar="PATH|URL...")],
    tag: Tags = None,
    wait: Annotated[bool, typer.Option(help="Wait until all is indexed; without a server it always waits.")] = True,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Add documents. What is known already stays as it is; what has changed becomes a new version."""
    from pegasus.upload import add_all, print_outcomes

    with _client(data) as client:
        outcomes = add_all(client, sources, tag or [], wait=wait or client.is_own)
    if as_json:
        _print_json(outcomes)
    else:
        print_outcomes(outcomes)
    if any(outcome["error"] for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    mode: Annotated[
        Literal["hybrid", "lexical", "semantic"], typer.Option(help="By words, by meaning or both.")
    ] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many passages to show.")] = 5,
    tag: Tags = None,
    since: Since = None,
    until: Until = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Find passages by their words and their meaning."""
    body = {"query": query, "mode": mode, "limit": limit, **_filters(tag, since, until)}
    with _client(data) as client:
        found = client.call("POST", "/v1/search", json=body)
    if as_json:
        _print_json(found)
        return
    from pegasus.printing import print_passages

    print_passages(found["passages"])


def _filters(tag: list[str] | None, since: str | None, until: str | None) -> dict[str, Any]:
    return {"tags": tag or []} | {name: value for name, value in (("since", since), ("until", until)) if value}


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to answer from the documents.")],
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many passages to draw on.")] = 8,
    tag: Tags = None,
    since: Since = None,
    until: Until = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Answer from the documents, every sentence with a checked citation."""
    from pegasus.printing import print_answer

    body = {"question": question, "limit": limit, **_filters(tag, since, until)}
    with _client(data) as client:
        if stream and not as_json:
            answer = {}
            for name, value in client.events("/v1/ask", body):
                if name == "token":
                    print(value["text"], end="", flush=True)
                elif name == "done":
                    answer = value
            print()
            print_answer(answer, with_text=False)
            return
        answer = client.call("POST", "/v1/ask", json=body)
    if as_json:
        _print_json(answer)
    else:
        print_answer(answer)


@app.command()
def erase(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids of documents.")] = None,
    tag: Annotated[str | None, typer.Option(help="Erase every document that has this tag.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Erase documents from every store."""
    from pegasus.upload import follow

    if not ids and not tag:
        raise typer.BadParameter("Give the ids of documents, or --tag.")
    with _client(data) as client:
        tagged = _pages(client, "/v1/documents", tag=tag) if tag else ()
        wanted = dict.fromkeys([*(ids or []), *(document["id"] for document in tagged)])
        jobs = [client.call("DELETE", f"/v1/documents/{id_}")["job"] for id_ in wanted]
        finished = follow(client, [job["id"] for job in jobs], "Erasing")
    if as_json:
        _print_json(finished)
    elif not wanted:
        print(f"No document has the tag {tag!r}; nothing was erased.")
    else:
        print(f"{sum(job['state'] == 'succeeded' for job in finished)} of {len(finished)} documents are erased.")
    if any(job["state"] != "succeeded" for job in finished):
        raise typer.Exit(1)


def _pages(client: Client, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Every item of a list, page by page."""
    given = {name: value for name, value in parameters.items() if value is not None}
    cursor: str | None = None
    while True:
        page = client.call("GET", path, params={**given, "limit": 200, **({"cursor": cursor} if cursor else {})})
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


@jobs_app.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, dead or cancelled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many jobs to list.")] = 20,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    with _client(data) as client:
        page = client.call("GET", "/v1/jobs", params={"limit": limit} | ({"state": state} if state else {}))
    if as_json:
        _print_json(page)
        return
    from pegasus.printing import print_jobs

    print_jobs(page["items"])


@jobs_app.command("show")
def show_job(job_id: JobId, data: Data = None, as_json: Json = False) -> None:
    """Show one job, and the items of a batch or archive."""
    with _client(data) as client:
        job = client.call("GET", f"/v1/jobs/{job_id}")
        items = list(client.lines(f"/v1/jobs/{job_id}/results"))
    if as_json:
        _print_json({**job, "items": items})
        return
    from pegasus.printing import print_job

    print_job(job, items)


@jobs_app.command("retry")
def retry_job(job_id: JobId, data: Data = None, as_json: Json = False) -> None:
    """Queue a failed, dead or cancelled job again, and follow it."""
    _act_on_job(job_id, "retry", data, as_json)


@jobs_app.command("cancel")
def cancel_job(job_id: JobId, data: Data = None, as_json: Json = False) -> None:
    """Stop a queued or running job."""
    _act_on_job(job_id, "cancel", data, as_json)


def _act_on_job(job_id: str, action: str, data: Path | None, as_json: bool) -> None:
    from pegasus.upload import follow

    with _client(data) as client:
        client.call("POST", f"/v1/jobs/{job_id}/{action}")
        (job,) = follow(client, [job_id], "Following")
    if as_json:
        _print_json(job)
    else:
        print(f"The job {job['id']} is {job['state']}.")
    if job["state"] in ("failed", "dead"):
        raise typer.Exit(1)


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="The app or person that will use it.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Create an API key and print it; it cannot be shown again."""
    with _client(data) as client:
        key = client.call("POST", "/v1/keys", json={"name": name})
    if as_json:
        _print_json(key)
    else:
        print(key["key"])
        print(f"Keep it: it is not shown again. Revoke it with: pegasus keys revoke {key['id']}", file=sys.stderr)


@keys_app.command("list")
def list_keys(data: Data = None, as_json: Json = False) -> None:
    """List API keys, newest first."""
    with _client(data) as client:
        keys = list(_pages(client, "/v1/keys"))
    if as_json:
        _print_json(keys)
        return
    from pegasus.printing import print_keys

    print_keys(keys)


@keys_app.command("revoke")
def revoke_key(key_id: KeyId, data: Data = None) -> None:
    """Make a key open nothing from now on."""
    with _client(data) as client:
        client.call("DELETE", f"/v1/keys/{key_id}")
    print(f"The key {key_id} is revoked.")


@keys_app.command("show-local")
def show_local_key(data: Data = None) -> None:
    """Print the key of this data directory."""
    from pegasus.client import local_key

    print(local_key(_settings(data=data).data))
