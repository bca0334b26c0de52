"""Commands that look whether the stores agree, mend them, make them anew, and show the receipts of erasures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pegasus.cli.options import Data, Json, client_for, pages, print_json

if TYPE_CHECKING:
    from pegasus.client import Client


class Store(StrEnum):
    VECTORS = "vectors"
    GRAPH = "graph"
    FULLTEXT = "fulltext"


erasures_app = typer.Typer(help="See the receipts of erasures.", no_args_is_help=True)


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what differs, and look again.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Do the stores agree? Compares rows, full text, vectors, graph and files in full; exits 1 when they differ."""
    from pegasus.printing import print_report, print_results
    from pegasus.upload import follow

    with client_for(data) as client:
        results: list[dict[str, Any]] = []
        report = _checked(client)
        if repair and not report["consistent"]:
            job = client.call("POST", "/v1/integrity/repair")["job"]
            follow(client, [job["id"]], "Repairing")
            results = list(client.lines(f"/v1/jobs/{job['id']}/results"))
            report = _checked(client)
    if as_json:
        print_json({**report, "repairs": results})
    else:
        print_results(results)
        print_report(report, repaired=repair)
    if not report["consistent"]:
        raise typer.Exit(1)


def _checked(client: Client) -> dict[str, Any]:
    from pegasus.upload import progress_bar

    report: dict[str, Any] = {}
    with progress_bar() as progress:
        bar = progress.add_task("Checking", total=None)
        for name, value in client.events("/v1/integrity", method="GET"):
            if name == "progress":
                progress.update(
                    bar, description=value["comparing"], completed=value["done"], total=value["total"] or None
                )
            elif name == "done":
                report = value
    return report


def rebuild(
    stores: Annotated[list[Store], typer.Argument(help="Which to make anew.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make vectors, graph or fulltext anew from the rows. Until it is done the old ones answer."""
    _run("/v1/integrity/rebuild", "Rebuilding", data, as_json, json={"stores": stores})


def compact(data: Data = None, as_json: Json = False) -> None:
    """Write every store anew, so that no byte of what was erased is left in their free space."""
    _run("/v1/integrity/compact", "Compacting", data, as_json)


def _run(path: str, what: str, data: Path | None, as_json: bool, **options: Any) -> None:
    from pegasus.upload import follow

    with client_for(data) as client:
        (job,) = follow(client, [client.call("POST", path, **options)["job"]["id"]], what)
    if as_json:
        print_json(job)
    elif job["state"] == "succeeded":
        purged = job["result"].get("erasures_purged")
        print(f"Made anew: {', '.join(job['result']['rebuilt'])}.")
        if purged is not None:
            print(f"{purged} erasures are purged now: no byte of them is left in the stores.")
        if left := job["result"].get("left_to_servers"):
            print(f"Erasures are not marked as purged: the files of {' and '.join(left)} are their servers'.")
    else:
        print(f"The job {job['id']} is {job['state']}: {(job['error'] or {}).get('detail', 'see its error')}")
    if job["state"] != "succeeded":
        raise typer.Exit(1)


@erasures_app.command("list")
def list_erasures(data: Data = None, as_json: Json = False) -> None:
    """List receipts of erasures, newest first."""
    from pegasus.printing import print_erasures

    with client_for(data) as client:
        receipts = list(pages(client, "/v1/erasures"))
    if as_json:
        print_json(receipts)
    else:
        print_erasures(receipts)


@erasures_app.command("show")
def show_erasure(
    erasure_id: Annotated[str, typer.Argument(metavar="ID", help="Of the erasure's job, or of what was erased.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show what an erasure removed, and where was looked for it afterwards."""
    from pegasus.printing import print_erasure

    with client_for(data) as client:
        receipt = client.call("GET", f"/v1/erasures/{erasure_id}")
    if as_json:
        print_json(receipt)
    else:
        print_erasure(receipt)
