"""Commands about documents: add, search, ask, erase."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from pegasus.cli.options import Data, Json, Tags, client_for, pages, print_json
from pegasus.text.lines import visible

Since = Annotated[str | None, typer.Option(help="Only documents added at this time or later, as 2026-01-31.")]
Until = Annotated[str | None, typer.Option(help="Only documents added before this time.")]


def add(
    sources: Annotated[list[str], typer.Argument(help="Files, folders, ZIPs, or http(s) URLs.", metavar="PATH|URL...")],
    tag: Tags = None,
    wait: Annotated[bool, typer.Option(help="Wait until all is indexed; without a server it always waits.")] = True,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Add documents. What is known already stays as it is; what has changed becomes a new version."""
    from pegasus.upload import add_all, print_outcomes

    with client_for(data) as client:
        outcomes = add_all(client, sources, tag or [], wait=wait or client.is_own)
    if as_json:
        print_json(outcomes)
    else:
        print_outcomes(outcomes)
    if any(outcome["error"] for outcome in outcomes):
        raise typer.Exit(1)


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
    with client_for(data) as client:
        found = client.call("POST", "/v1/search", json=body)
    if as_json:
        print_json(found)
        return
    from pegasus.printing import print_passages

    print_passages(found["passages"])


def _filters(tag: list[str] | None, since: str | None, until: str | None) -> dict[str, Any]:
    return {"tags": tag or []} | {name: value for name, value in (("since", since), ("until", until)) if value}


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
    with client_for(data) as client:
        if stream and not as_json:
            answer = {}
            for name, value in client.events("/v1/ask", body):
                if name == "token":
                    print(visible(value["text"]), end="", flush=True)
                elif name == "done":
                    answer = value
            print()
            print_answer(answer, with_text=False)
            return
        answer = client.call("POST", "/v1/ask", json=body)
    if as_json:
        print_json(answer)
    else:
        print_answer(answer)


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
    with client_for(data) as client:
        tagged = pages(client, "/v1/documents", tag=tag) if tag else ()
        wanted = dict.fromkeys([*(ids or []), *(document["id"] for document in tagged)])
        jobs = [client.call("DELETE", f"/v1/documents/{id_}")["job"] for id_ in wanted]
        finished = follow(client, [job["id"] for job in jobs], "Erasing")
    if as_json:
        print_json(finished)
    elif not wanted:
        print(f"No document has the tag {tag!r}; nothing was erased.")
    else:
        print(f"{sum(job['state'] == 'succeeded' for job in finished)} of {len(finished)} documents are erased.")
    if any(job["state"] != "succeeded" for job in finished):
        raise typer.Exit(1)
