"""Deployments for people: changes before they are made, how it is, what was."""

from __future__ import annotations

from collections.abc import Sequence

from pegasus.printing import console, plain, state, table
from pegasus_aws.clients.cloudformation import Proposal
from pegasus_aws.release.history import Version
from pegasus_aws.release.status import Status


def print_changes(proposal: Proposal) -> None:
    found = table("stack", "change", "resource", "type", "replaced")
    for change in proposal.changes:
        replaced = {"True": "[red]yes[/]", "Conditional": "perhaps"}.get(change.replacement, "")
        found.add_row(proposal.stack, change.action, change.resource, change.type, replaced)
    if not proposal.changes:
        found.add_row(proposal.stack, "Modify", "outputs or tags", "", "")
    console().print(found)


def print_status(now: Status) -> None:
    out = console()
    stacks = table("stack", "status")
    for name, there in now.stacks.items():
        stacks.add_row(name, there)
    out.print(stacks)
    if now.lock:
        lock = now.lock
        out.print(f"At work: {plain(lock.owner)} on {plain(lock.host)} since {lock.since}: {plain(lock.reason)}")
    if now.last:
        out.print(f"Last attempt: {now.last.command}, {state(now.last.outcome)} {plain(now.last.cause)}".rstrip())
    if now.version is None:
        out.print("Nothing runs that was deployed from here. Next: pegasus aws apply")
        return
    for line in now.wrong:
        out.print(f"[red]otherwise[/] {plain(line)}")
    if not now.wrong:
        out.print(f"[green]Version {now.version.number} runs as it should.[/]")


def print_history(versions: Sequence[Version]) -> None:
    out = console()
    if not versions:
        out.print("Nothing was deployed yet. Next: pegasus aws apply")
        return
    made = table("version", "command", "state", "began", "ended", "by", "backend", "chroma", "cause")
    for one in versions:
        digests = [digest.removeprefix("sha256:")[:12] for digest in _digests(one)]
        times = [moment[:16].replace("T", " ") for moment in (one.began, one.ended)]
        by = one.by.rpartition("/")[2] or one.by
        made.add_row(
            str(one.number), plain(one.command), state(one.outcome), *times, plain(by), *digests, plain(one.cause)
        )
    out.print(made)


def _digests(version: Version) -> tuple[str, str]:
    return (version.digests.backend, version.digests.chroma) if version.digests else ("", "")
