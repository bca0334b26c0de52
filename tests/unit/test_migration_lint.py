"""Steps that would hurt are refused, each with what to do instead; those that are there are not refused."""

from __future__ import annotations

import previous_release
import pytest
from alembic.script import ScriptDirectory

from pegasus import migrations
from pegasus.migrations import BASELINE, chain
from pegasus.migrations.lint import RULES, Finding, lint
from pegasus.migrations.steps import Backfill, Migration, Step

USED = ("SELECT nickname FROM people",)  # In the code of the previous release.
PREVIOUS = BASELINE


def findings(*steps: Step, previous_head: str = PREVIOUS) -> list[Finding]:
    before = [migration for migration in chain() if migration.revision <= BASELINE]
    later: list[Migration] = []
    for number, step in enumerate(steps, 9001):
        compatible_from = step.compatible_from or BASELINE
        later.append(Migration(str(number), before[-1].revision, "a step", step, compatible_from))
    return lint([*before, *later], previous_head, USED)


def refused(*steps: Step) -> set[str]:
    return {finding.rule for finding in findings(*steps)}


def expand(*statements: str, **more: object) -> Step:
    return Step("expand", statements, **more)  # type: ignore[arg-type]


def contract(*statements: str, **more: object) -> Step:
    return Step("contract", statements, **{"compatible_from": BASELINE, **more})  # type: ignore[arg-type]


def on_postgresql(*statements: str) -> Step:
    return Step("expand", postgresql=statements)


BAD = [
    ("one-kind", expand("CREATE TABLE a (id TEXT PRIMARY KEY)", indexes=("CREATE INDEX b ON a (id)",))),
    ("one-kind", Step("expand")),
    ("required-column", expand("ALTER TABLE people ADD COLUMN age INTEGER NOT NULL")),
    ("required-column", expand("alter table people\n  add age integer not null")),
    ("computed-default", expand("ALTER TABLE people ADD COLUMN since TEXT DEFAULT CURRENT_TIMESTAMP")),
    ("computed-default", expand("ALTER TABLE people ADD COLUMN token TEXT NOT NULL DEFAULT gen_random_uuid()")),
    ("computed-default", expand("ALTER TABLE people ADD COLUMN n BIGINT GENERATED ALWAYS AS (age + 1) STORED")),
    ("column-type", on_postgresql("ALTER TABLE people ALTER COLUMN age TYPE BIGINT")),
    ("column-type", on_postgresql("ALTER TABLE people ALTER age SET DATA TYPE BIGINT")),
    ("rename", expand("ALTER TABLE people RENAME COLUMN age TO years")),
    ("rename", expand("ALTER TABLE people RENAME TO persons")),
    ("drop", expand("ALTER TABLE people DROP COLUMN age")),
    ("drop", expand("DROP TABLE IF EXISTS people")),
    ("drop", expand("DROP INDEX people_by_age")),
    ("still-used", contract("ALTER TABLE people DROP COLUMN nickname")),
    ("still-used", contract("DROP TABLE people")),
    ("cuts-off-previous-release", contract("ALTER TABLE people DROP COLUMN age", compatible_from="9001")),
    ("no-compatible-from", contract("ALTER TABLE people DROP COLUMN age", compatible_from=None)),
    ("expand-cuts-off", expand("ALTER TABLE people ADD COLUMN age INTEGER", compatible_from=BASELINE)),
    ("index-in-transaction", expand("CREATE INDEX people_by_age ON people (age)")),
    ("unique-index", Step("expand", indexes=("CREATE UNIQUE INDEX people_by_age ON people (age)",))),
    ("unbounded-write", expand("UPDATE people SET age = 0 WHERE age IS NULL")),
    ("unbounded-write", expand("DELETE FROM people WHERE age IS NULL")),
    ("unbounded-write", expand("INSERT INTO elders (id) SELECT id FROM people")),
    ("constraint-not-valid", on_postgresql("ALTER TABLE people ADD CONSTRAINT adult CHECK (age >= 18)")),
    ("constraint-not-valid", on_postgresql("ALTER TABLE people ADD CONSTRAINT once UNIQUE (name)")),
    ("constraint-not-valid",
     on_postgresql("ALTER TABLE people ADD FOREIGN KEY (home) REFERENCES homes(id) ON DELETE CASCADE")),
    ("validate-apart", on_postgresql(
        "ALTER TABLE people ADD CONSTRAINT adult CHECK (age >= 18) NOT VALID",
        "ALTER TABLE people VALIDATE CONSTRAINT adult")),
    ("tightened", on_postgresql("ALTER TABLE people ADD CONSTRAINT adult CHECK (age >= 18) NOT VALID")),
    ("tightened", on_postgresql("ALTER TABLE people ALTER COLUMN age SET NOT NULL")),
    ("tightened", expand("ALTER TABLE people ADD COLUMN age INTEGER CHECK (age > 0)")),
    ("no-on-delete", expand("CREATE TABLE pets (id TEXT PRIMARY KEY, owner TEXT REFERENCES people(id), name TEXT)")),
    ("no-on-delete", expand("ALTER TABLE people ADD COLUMN home TEXT REFERENCES homes(id)")),
    ("many-tables", expand("ALTER TABLE people ADD COLUMN age INTEGER", "ALTER TABLE homes ADD COLUMN age INTEGER")),
    ("unknown-statement", expand("CREATE TRIGGER t BEFORE INSERT ON people BEGIN SELECT 1; END")),
    ("unknown-statement", on_postgresql("CLUSTER people")),
    ("unknown-statement", Step("expand", indexes=("REINDEX TABLE people",))),
    ("unneeded-acceptance", expand("ALTER TABLE people ADD COLUMN age INTEGER", accepts={"rename": "why not"})),
]  # fmt: skip
GOOD = [
    expand("ALTER TABLE people ADD COLUMN age INTEGER"),
    expand("ALTER TABLE people ADD COLUMN age INTEGER NOT NULL DEFAULT -1"),
    expand("ALTER TABLE people ADD COLUMN kind TEXT NOT NULL DEFAULT 'person, or none'"),
    expand(
        "CREATE TABLE pets (id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces(id),"
        " owner TEXT NOT NULL REFERENCES people(id) ON DELETE CASCADE)",
        "CREATE INDEX pets_by_owner ON pets (owner)",
        "CREATE TABLE toys (id TEXT PRIMARY KEY, pet TEXT NOT NULL REFERENCES pets(id))",
    ),
    Step("expand", indexes=("CREATE INDEX people_by_age ON people (age) WHERE age > 0",)),
    Step("expand", backfill=Backfill("people", "id", "age = 0", "age IS NULL")),
    on_postgresql("ALTER TABLE people VALIDATE CONSTRAINT adult"),
    on_postgresql("ALTER TABLE people ALTER COLUMN age DROP NOT NULL"),
    contract("ALTER TABLE people DROP COLUMN age"),
    contract("DROP INDEX people_by_age"),
    expand("ALTER TABLE people RENAME TO persons", accepts={"rename": "Nothing has used the table yet."}),
]


@pytest.mark.parametrize(("rule", "step"), BAD, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(BAD)])
def test_what_hurts_is_refused(rule: str, step: Step) -> None:
    assert rule in refused(step)


@pytest.mark.parametrize("step", GOOD, ids=[f"good-{n}" for n in range(len(GOOD))])
def test_what_does_not_hurt_passes(step: Step) -> None:
    assert findings(step) == []


def test_every_rule_has_an_example() -> None:
    assert {rule for rule, _ in BAD} == set(RULES)


def test_a_refusal_names_the_step_and_says_what_to_do() -> None:
    (finding,) = findings(expand("ALTER TABLE people ADD COLUMN age INTEGER NOT NULL"))
    assert str(finding).startswith("9001 required-column: ALTER TABLE people ADD COLUMN age INTEGER NOT NULL\n")
    assert "constant DEFAULT" in str(finding)


def test_what_was_released_is_not_held_against_the_code_that_came_with_it() -> None:
    step = contract("ALTER TABLE people DROP COLUMN nickname")
    assert findings(step, previous_head="9001") == []


def test_the_steps_that_there_are_hurt_nobody() -> None:
    found = lint(chain(), previous_release.head(), previous_release.texts())
    assert found == [], "\n".join(map(str, found))


def test_steps_since_the_baseline_do_what_they_say_and_nothing_else() -> None:
    """Or the linter judges another step than that which is taken."""
    for script in ScriptDirectory.from_config(migrations.config()).walk_revisions(base=BASELINE):
        if script.revision != BASELINE:
            assert script.module.upgrade == script.module.step.run, script.revision
