"""Which steps a schema still lacks, which of them may be taken now, and whether this code runs on it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pegasus import migrations
from pegasus.errors import Conflict, Misconfigured
from pegasus.migrations import chain, revisions
from pegasus.ports import Progress, RelationalStore, SchemaState, unseen

if TYPE_CHECKING:
    from pegasus.migrations.steps import Migration


def pending(schema: SchemaState, revision: str | None = None) -> Sequence[Migration]:
    """Steps from a schema to a revision or HEAD; none from a newer schema than HEAD on which this code runs.

    Raises ``Misconfigured`` where the schema has gone so far that this code cannot run on it.
    """
    revision = revision or migrations.HEAD
    if schema.revision == revision:  # The rule, for which Alembic is not even loaded.
        return []
    known, names = chain(), revisions()
    if schema.revision is None:
        return known[: names.index(revision) + 1]
    if schema.revision in names:
        return known[names.index(schema.revision) + 1 : names.index(revision) + 1]
    if not runs_on(schema):
        needed = schema.compatible_from or schema.revision
        raise Misconfigured(
            f"The schema is at revision {schema.revision}, on which only code for {needed} and later runs; this version"
            f" of Pegasus was made for {migrations.HEAD}.",
            hint="Run a newer version of Pegasus, or restore a backup that this one can read.",
        )
    return []


def is_newer(schema: SchemaState) -> bool:
    """Whether newer code than this has made the schema what it is."""
    return schema.revision not in (None, migrations.HEAD) and schema.revision not in revisions()


def runs_on(schema: SchemaState) -> bool:
    """Whether no contract step has taken away what this code needs; expand steps may be missing."""
    return not is_newer(schema) or schema.compatible_from in revisions()


def require(relational: RelationalStore) -> None:
    """For processes that leave the schema to ``pegasus schema upgrade``: raises ``Misconfigured`` where this code
    cannot run on it. Contract steps may be missing: they wait until nobody needs what they take away."""
    schema = relational.schema()
    missing = pending(schema)
    needed = [migration.revision for migration in missing if migration.step.phase == "expand"]
    if needed:
        raise Misconfigured(
            f"The schema is {f'at revision {schema.revision}' if schema.revision else 'not made yet'}; this version of"
            f" Pegasus needs {needed[-1]}.",
            hint="Bring it forward, while the version before this one may still run: pegasus schema upgrade",
        )


def upgrade(relational: RelationalStore, *, contract: bool, progress: Progress = unseen) -> Sequence[Migration]:
    """Take the steps that are still to be taken: with ``contract`` all of them, else those that older code runs beside.

    Raises ``Conflict`` when this code needs a step that comes after one that older code does not bear.
    """
    missing = pending(relational.schema())
    wanted = missing if contract else _until_contract(missing)
    if wanted:
        relational.migrate(wanted[-1].revision, progress)
    return wanted


def _until_contract(missing: Sequence[Migration]) -> Sequence[Migration]:
    phases = [migration.step.phase for migration in missing]
    if "contract" not in phases:
        return missing
    first = phases.index("contract")
    if "expand" in phases[first:]:
        before, needed = missing[first], missing[phases.index("expand", first)]
        raise Conflict(
            f"This version needs step {needed.revision}, which comes after the contract step {before.revision}"
            f" ({before.title}), and then no code older than that for {before.compatible_from} runs any more.",
            hint=f"See that no process is of a version before {before.compatible_from}; then run:"
            " pegasus schema upgrade --contract",
        )
    return missing[:first]


def report(schema: SchemaState) -> dict[str, Any]:
    """How a schema stands to this code."""
    runs = runs_on(schema)
    return {
        "revision": schema.revision,
        "head": migrations.HEAD,
        "newer": is_newer(schema),
        "runs": runs,
        "pending": [step_report(migration) for migration in pending(schema)] if runs else [],
    }


def step_report(migration: Migration) -> dict[str, str]:
    return {"revision": migration.revision, "phase": migration.step.phase, "title": migration.title}
