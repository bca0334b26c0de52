"""Schema changes, as expand and contract steps that Alembic runs; HEAD is the revision that this code was made for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pegasus.ports import SchemaState

if TYPE_CHECKING:
    from alembic.config import Config

    from pegasus.migrations.steps import Migration
    from pegasus.ports import Transaction

HEAD = "0007"
# Code of earlier revisions, none of which was released, knows nothing of newer schemas and refuses them. The steps up
# to here have only ever made schemas anew.
BASELINE = "0006"

# Where the steps are, and what is kept of those that were taken.
FOLDERS = ("pegasus:migrations/versions",)
BOOKKEEPING = ("alembic_version", "schema_steps")


def chain() -> Sequence[Migration]:
    """Every step that this code knows, oldest first."""
    return _chain(FOLDERS)


def revisions() -> list[str]:
    """Every revision that this code can bring a schema to, oldest first."""
    return [migration.revision for migration in chain()]


def state(tx: Transaction, tables: Collection[str]) -> SchemaState:
    """What is noted in those of the bookkeeping's tables that there are."""
    if "alembic_version" not in tables:
        return SchemaState(None, None)
    noted = "SELECT compatible_from FROM schema_steps s WHERE s.revision = v.version_num"
    oldest = noted if "schema_steps" in tables else "NULL"
    row = tx.one(f"SELECT version_num, ({oldest}) AS compatible_from FROM alembic_version v")
    return SchemaState(row["version_num"], row["compatible_from"]) if row else SchemaState(None, None)


def config() -> Config:
    """As Alembic's own commands want it."""
    return _config(FOLDERS)


def _config(folders: Sequence[str]) -> Config:
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", "pegasus:migrations")
    made.set_main_option("path_separator", "newline")
    made.set_main_option("version_locations", "\n".join(folders))
    return made


@lru_cache(maxsize=4)
def _chain(folders: Sequence[str]) -> Sequence[Migration]:
    from alembic.script import ScriptDirectory

    from pegasus.migrations.steps import Migration

    migrations: list[Migration] = []
    compatible_from = BASELINE
    for script in [*ScriptDirectory.from_config(_config(folders)).walk_revisions()][::-1]:
        compatible_from = script.module.step.compatible_from or compatible_from
        before = migrations[-1].revision if migrations else None
        title = script.doc.rstrip(".")
        migrations.append(Migration(script.revision, before, title, script.module.step, compatible_from))
    return tuple(migrations)
