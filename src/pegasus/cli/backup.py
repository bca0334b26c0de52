"""Commands that save everything and bring it back. They work on the data directory itself, with or without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pegasus.cli.options import Data, Json, print_json, progress_bars, quiet_settings

if TYPE_CHECKING:
    from pegasus.integrity.encryption import Key, Lock

PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="A file whose first line is the passphrase.", metavar="FILE")
]


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write the archive.", metavar="FILE")],
    passphrase_file: PassphraseFile = None,
    recipient: Annotated[
        str | None, typer.Option(help="Encrypt for this public key of age (age1...).", metavar="KEY")
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option(min=0, help="When you will have deleted it; receipts of erasures tell.", metavar="N")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE when it exists.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Save all documents, files, sessions, jobs and keys in one archive, also while the server runs."""
    from pegasus.bootstrap import database_of, truth
    from pegasus.integrity.backup import back_up
    from pegasus.printing import print_backup

    lock = _lock(passphrase_file, recipient)
    settings = quiet_settings(data)
    opened = truth(settings.data, settings.files, database_of(settings))
    with opened as (relational, files), progress_bars() as progress:
        made = back_up(
            relational, files, file.absolute(), lock=lock, keep_days=keep_days, force=force, progress=progress
        )
    if as_json:
        print_json(made.report())
    else:
        print_backup(made.report())


def restore(
    file: Annotated[Path, typer.Argument(help="The archive.", metavar="FILE", exists=True, dir_okay=False)],
    drill: Annotated[
        bool, typer.Option("--drill", help="Only try it: restore beside, search and ask, report, clean up.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    identity: Annotated[
        Path | None, typer.Option(help="A file with the secret key of age that opens it.", metavar="FILE")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Bring a backup back into an empty data directory, verified; or see with --drill that it could be."""
    from pegasus import bootstrap
    from pegasus.integrity.encryption import unlock
    from pegasus.integrity.restore import check
    from pegasus.printing import print_restored

    settings = quiet_settings(data)
    opened = unlock(file, _key(passphrase_file, identity))
    with progress_bars() as progress:
        manifest = check(opened, progress)
        if drill:
            report = bootstrap.drill(settings, opened, manifest, progress).report()
        else:
            report = bootstrap.restore(settings, opened, manifest, progress).report()
    if as_json:
        print_json(report)
    else:
        print_restored(report, settings.data)
    if drill and not report["passed"]:
        raise typer.Exit(1)


def _lock(passphrase_file: Path | None, recipient: str | None) -> Lock | None:
    from pegasus.integrity.encryption import Lock, read_passphrase

    if passphrase_file and recipient:
        raise typer.BadParameter("Give --passphrase-file or --recipient, not both.")
    if passphrase_file:
        return Lock(passphrase=read_passphrase(passphrase_file))
    return Lock(recipient=recipient) if recipient else None


def _key(passphrase_file: Path | None, identity: Path | None) -> Key:
    from pegasus.integrity.encryption import Key, read_identities, read_passphrase

    return Key(
        passphrase=read_passphrase(passphrase_file) if passphrase_file else None,
        identities=read_identities(identity) if identity else (),
    )
