"""Adds files, folders and web pages through the HTTP interface, and follows the jobs that index them."""

from __future__ import annotations

import mimetypes
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pegasus.client import Client
from pegasus.errors import Invalid, NotFound, PegasusError, Unavailable
from pegasus.printing import console, state, table

_LOOK_SECONDS = 0.1
_FINISHED = ("succeeded", "failed", "dead", "cancelled")
_MAX_PAGE_BYTES = 100 * 2**20
_SHOWN = 20

Outcome = dict[str, Any]


def add_all(client: Client, sources: Sequence[str], tags: Sequence[str], *, wait: bool) -> list[Outcome]:
    """Add everything that the sources name; one outcome a file, in order. A file that fails does not stop the rest."""
    files = [file for source in sources for file in _expanded(source)]
    with progress_bar() as progress:
        sending = progress.add_task("Sending", total=len(files))
        outcomes = []
        for file in files:
            outcomes.append(_add(client, file, tags))
            progress.advance(sending)
        if wait:
            jobs = {job["id"]: job for job in _follow(client, [o["job_id"] for o in outcomes if o["job_id"]], progress)}
            for outcome in outcomes:
                _settle(outcome, jobs.get(outcome["job_id"]))
    return outcomes


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _expanded(source: str) -> Iterator[str | Path]:
    """The files of a folder, hidden ones left out and links not followed; anything else as it is."""
    if source.startswith(("http://", "https://")):
        yield source
        return
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise NotFound(f"There is no file or folder {path}.", hint="Check the path.")
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise Invalid(f"{path} is neither a file nor a folder.", hint="Give the path of a document.")
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file


def _add(client: Client, file: str | Path, tags: Sequence[str]) -> Outcome:
    outcome: Outcome = {"source": _shown(str(file)), "document_id": None, "job_id": None, "title": "", "error": None}
    try:
        answer = _send_page(client, file, tags) if isinstance(file, str) else _send_file(client, file, tags)
    except Unavailable:
        raise  # The server is gone; the rest would fare no better.
    except PegasusError as error:
        return outcome | {"state": "failed", "error": error.problem()}
    document, job = answer["document"], answer["job"]
    return outcome | {
        "document_id": document and document["id"],
        "title": document["title"] if document else "",
        "job_id": job and job["id"],
        "state": "accepted" if job else "unchanged",
    }


def _shown(name: str) -> str:
    """A name that can be printed and sent; one that is not UTF-8 on the disk has marks in the place of what is not."""
    return name.encode("utf-8", "replace").decode()


def _send_file(client: Client, path: Path, tags: Sequence[str]) -> Any:
    try:
        with path.open("rb") as stream:
            media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            return client.call(
                "POST",
                "/v1/documents",
                files={"file": (_shown(path.name), stream, media_type)},
                data={"uri": path.as_uri(), "tags": list(tags)},
            )
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.", hint="Check its permissions.") from error


def _send_page(client: Client, url: str, tags: Sequence[str]) -> Any:
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=30) as response:
            response.raise_for_status()
            content = bytearray()
            for block in response.iter_bytes():
                content += block
                if len(content) > _MAX_PAGE_BYTES:
                    raise Invalid(f"{url} is larger than {_MAX_PAGE_BYTES:,} bytes.")
            media_type = response.headers.get("content-type", "application/octet-stream")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Invalid(f"{url} could not be fetched: {error}.", hint="Check the address.") from error
    name = Path(httpx.URL(url).path).name or "page.html"
    return client.call(
        "POST",
        "/v1/documents",
        files={"file": (name, bytes(content), media_type)},
        data={"uri": url, "tags": list(tags)},
    )


def _settle(outcome: Outcome, job: Mapping[str, Any] | None) -> None:
    if job:
        outcome["state"], outcome["error"] = job["state"], job["error"]
        failed = (job["result"] or {}).get("failed")
        if failed:
            outcome["error"] = {"detail": f"{failed} of its items failed; see: pegasus jobs show {job['id']}"}


def follow(client: Client, job_ids: Sequence[str], what: str) -> list[dict[str, Any]]:
    """Wait until the jobs are finished, under a progress bar; the jobs as they are then."""
    with progress_bar() as progress:
        return _follow(client, job_ids, progress, what)


def _follow(client: Client, job_ids: Sequence[str], progress: Progress, what: str = "Indexing") -> list[dict[str, Any]]:
    bar = progress.add_task(what, total=len(job_ids))
    finished = []
    for job_id in job_ids:
        while (job := client.call("GET", f"/v1/jobs/{job_id}"))["state"] not in _FINISHED:
            time.sleep(_LOOK_SECONDS)
        finished.append(job)
        progress.advance(bar)
    return finished


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """A line a file for few, and for many only those that failed; then the sum and what to do next."""
    out = console()
    shown = [o for o in outcomes if len(outcomes) <= _SHOWN or o["state"] in ("failed", "dead") or o["error"]]
    if shown:
        made = table("state", "file", "id", "why")
        for outcome in shown:
            why = (outcome["error"] or {}).get("detail", "")
            name = Path(outcome["source"]).name
            made.add_row(state(outcome["state"]), escape(name), outcome["document_id"] or "", escape(why))
        out.print(made)
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome["state"]] = counts.get(outcome["state"], 0) + 1
    out.print(", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "There was nothing to add.")
    if counts.get("failed"):
        out.print("Next: mend the files that failed and add them again; the others stay as they are.")
    elif outcomes:
        out.print('Next: pegasus ask "your question"')
