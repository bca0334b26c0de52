"""Commands about sources, and the data pipeline that runs them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from pegasus.cli.options import Data, Json, Tags, client_for, pages, print_json
from pegasus.errors import Invalid, NotFound

app = typer.Typer(help="Say where documents come from by themselves.", no_args_is_help=True)
pipeline = typer.Typer(help="Bring documents in step with their sources.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of a source; see: pegasus sources list.")]
_KINDS = ("folder", "feed", "page", "sitemap", "bucket", "mailbox", "mbox", "chat")


@app.command("add")
def add_source(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE", help="A folder or file, http(s)://, s3://bucket/prefix, imaps://user@host/folder."
        ),
    ],
    kind: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(_KINDS)}; told from the place where it can be.")
    ] = None,
    every: Annotated[str | None, typer.Option(help="How often it runs by itself, as 90s, 15m, 6h or 1d.")] = None,
    tag: Tags = None,
    include: Annotated[list[str] | None, typer.Option(help="Folder: only such files, as *.md.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Folder: no such files, as drafts/*.")] = None,
    max_pages: Annotated[int | None, typer.Option(help="Sitemap: the most pages.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Bucket: the URL of a service other than AWS.")] = None,
    region: Annotated[str | None, typer.Option(help="Bucket: its region.")] = None,
    key_id_secret: Annotated[
        str | None, typer.Option(help="Bucket: the server's environment variable with the access key id.")
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(help="Bucket, mailbox: the variable with the secret key or password; PEGASUS_SECRET_..."),
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Add a source; it runs when its time comes, or with: pegasus sources run."""
    origin = _origin(kind or _kind_of(place), place)
    more = {
        "include": include,
        "exclude": exclude,
        "max_pages": max_pages,
        "endpoint": endpoint,
        "region": region,
        "access_key_id_secret": key_id_secret,
        "password_secret" if origin["kind"] == "mailbox" else "secret_access_key_secret": secret,
    }
    origin |= {field: value for field, value in more.items() if value is not None}
    body = {"name": name, "origin": origin, "tags": tag or [], "every_seconds": _seconds(every)}
    with client_for(data) as client:
        source = client.call("POST", "/v1/sources", json=body)
    if as_json:
        print_json(source)
    else:
        print(f"The source {source['name']} is added ({source['kind']}).")
        print(f'Next: pegasus sources run "{source["name"]}"')


def _kind_of(place: str) -> str:
    scheme = urlsplit(place).scheme
    if scheme in ("http", "https"):
        return "sitemap" if re.search(r"sitemap[^/]*\.xml(\.gz)?$", urlsplit(place).path) else "page"
    if scheme in ("s3", "imaps"):
        return {"s3": "bucket", "imaps": "mailbox"}[scheme]
    path = Path(place).expanduser()
    if path.is_dir():
        return "folder"
    return "mbox" if path.suffix == ".mbox" else "chat"


def _origin(kind: str, place: str) -> dict[str, Any]:
    if kind not in _KINDS:
        raise Invalid(f"There is no kind of source {kind!r}.", hint=f"Take one of {', '.join(_KINDS)}.")
    if kind in ("feed", "page", "sitemap"):
        return {"kind": kind, "url": place}
    if kind in ("folder", "mbox", "chat"):
        # The server may run elsewhere in the file system than this command.
        return {"kind": kind, "path": str(Path(place).expanduser().absolute())}
    parts = urlsplit(place)
    path = unquote(parts.path).lstrip("/")
    if kind == "bucket":
        return {"kind": kind, "bucket": parts.netloc, "prefix": path}
    if parts.password is not None:
        raise Invalid("A password does not belong into an address.", hint="Name its variable with --secret.")
    port = {"port": parts.port} if parts.port else {}
    user = unquote(parts.username or "")
    return {"kind": kind, "host": parts.hostname or "", "user": user, "folder": path or "INBOX", **port}


def _seconds(every: str | None) -> int | None:
    if every is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", every)
    if not found:
        raise Invalid(f"{every!r} is no time.", hint="Give it as 90s, 15m, 6h or 1d.")
    return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2]]


@app.command("list")
def list_sources(data: Data = None, as_json: Json = False) -> None:
    """List sources, newest first, with how their newest runs went."""
    with client_for(data) as client:
        sources = list(pages(client, "/v1/sources"))
    if as_json:
        print_json(sources)
        return
    from pegasus.printing import print_sources

    print_sources(sources)


@app.command("run")
def run_source(
    name: Name,
    confirm: Annotated[bool, typer.Option("--confirm", help="Erase also what an earlier run has held back.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Run one source now and wait for its end."""
    _run([name], data, as_json, confirm=confirm)


@app.command("remove")
def remove_source(
    name: Name,
    erase: Annotated[bool, typer.Option("--erase", help="Erase the documents that only this source names.")] = False,
    data: Data = None,
) -> None:
    """Remove a source; its documents stay, unless --erase is given."""
    from pegasus.upload import follow

    with client_for(data) as client:
        source = _named(client, name)
        answer = client.call("DELETE", f"/v1/sources/{source['id']}?documents={'erase' if erase else 'keep'}")
        if answer["job"]:
            (job,) = follow(client, [answer["job"]["id"]], "Erasing")
            _follow_erasures(client, [job["id"]])
            if job["state"] != "succeeded":
                print(f"The job {job['id']} is {job['state']}.")
                raise typer.Exit(1)
    print(f"The source {name} is removed; its documents are {'erased' if erase else 'kept'}.")


@pipeline.command("run")
def run_pipeline(
    source: Annotated[str | None, typer.Option(help="Only the source of this name.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Run all sources now, or one, and wait for their end; fails when a run or an item of one has failed."""
    _run([source] if source else None, data, as_json)


def _run(names: list[str] | None, data: Path | None, as_json: bool, *, confirm: bool = False) -> None:
    from pegasus.upload import follow

    with client_for(data) as client:
        if names is None:
            sources = [source for source in pages(client, "/v1/sources") if not source["removing"]]
        else:
            sources = [_named(client, name) for name in names]
        jobs = [
            client.call("POST", f"/v1/sources/{source['id']}/run", params={"confirm": confirm})["job"]
            for source in sources
        ]
        follow(client, [job["id"] for job in jobs], "Running")
        _follow_erasures(client, [job["id"] for job in jobs])
        reports = [
            {"source": source["name"], **client.call("GET", f"/v1/sources/{source['id']}/runs?limit=1")["items"][0]}
            for source in sources
        ]
    if as_json:
        print_json(reports)
    else:
        from pegasus.printing import print_runs

        print_runs(reports)
    if any(report["state"] != "succeeded" or report["failed"] or report["held"] for report in reports):
        raise typer.Exit(1)


def _named(client: Any, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.call("GET", "/v1/sources", params={"name": name})["items"]
    if not found:
        raise NotFound(f"There is no source named {name!r}.", hint="See what there is: pegasus sources list")
    return found[0]


def _follow_erasures(client: Any, job_ids: list[str]) -> None:
    """A run does not wait for what it has erased, which nothing finds any more; a server of our own must."""
    from pegasus.upload import follow

    items = [item for job_id in job_ids for item in client.lines(f"/v1/jobs/{job_id}/results")]
    if erasures := [item["job_id"] for item in items if item["outcome"] == "erased"]:
        follow(client, erasures, "Erasing")
