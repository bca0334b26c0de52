"""Refuses steps that would keep others waiting, or that the release before this one could not bear.

Only statements of forms that are known here pass; whatever else a step says has to give its reason in ``accepts``.
Steps up to ``BASELINE`` have only ever made schemas anew and are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pegasus.migrations import BASELINE
from pegasus.migrations.steps import Migration, Step

# What each refusal says is to be done instead.
RULES: Mapping[str, str] = {
    "one-kind": "A step has statements, indexes or a backfill, and one of them only: make a step of each.",
    "required-column": (
        "Code that does not know the column can insert no rows any more. Give it a constant DEFAULT, or let it be NULL."
    ),
    "computed-default": (
        "A default that is no constant rewrites the table under a lock, and SQLite refuses it. Add the column "
        "without it, let the code fill it in, and the older rows by a backfill."
    ),
    "column-type": (
        "A change of type rewrites the table under a lock, and old code expects the old type. Add a new column, "
        "write both, backfill, read the new one, and drop the old one a release later."
    ),
    "rename": (
        "Old code knows the old name only. Add the new one beside it, write both, backfill, and drop the old one a "
        "release later."
    ),
    "drop": "Old code may still use it. Drop it in a contract step, one release after the last code that used it.",
    "still-used": "The code of the previous release names it. Release code without it first; drop it a release later.",
    "cuts-off-previous-release": (
        "Code of the previous release has to run on the schema. Let compatible_from be its revision or an older "
        "one, and take away what it uses a release later."
    ),
    "no-compatible-from": (
        "A contract step has to say from which revision on code does without what it takes away: compatible_from."
    ),
    "expand-cuts-off": "An expand step keeps no code out: leave compatible_from away, or make it a contract step.",
    "index-in-transaction": (
        "Nobody could write to the table until the index is made. Put it under indexes, in a step of its own: "
        "PostgreSQL makes those CONCURRENTLY."
    ),
    "unique-index": (
        "It refuses rows that old code may write. Add it when code of the previous release can write no such rows, "
        "and say so in accepts."
    ),
    "unbounded-write": "All rows in one transaction keep their writers waiting until it ends. Use a backfill.",
    "constraint-not-valid": (
        "All rows are looked through under a lock. Add it NOT VALID; VALIDATE it in a later step. UNIQUE and "
        "PRIMARY KEY are added USING INDEX, which an earlier step made."
    ),
    "validate-apart": (
        "In the step that adds it, the lock of adding is held while all rows are looked through. VALIDATE it in a "
        "later step."
    ),
    "tightened": (
        "Old code may write what is refused from then on. Do it when code of the previous release cannot any more, "
        "and say so in accepts; NOT NULL only after a CHECK that was validated."
    ),
    "no-on-delete": (
        "Older code deletes rows of that table and knows nothing of those that refer to them. Say ON DELETE "
        "CASCADE or ON DELETE SET NULL, or do without the reference."
    ),
    "many-tables": (
        "Whoever holds one table keeps all of them locked, and two such transactions deadlock. Change one table a step."
    ),
    "unknown-statement": (
        "Of such statements the linter knows nothing. See what they lock and what older code makes of them, and "
        "say so in accepts."
    ),
    "unneeded-acceptance": "Nothing in the step needs it: take it out of accepts.",
}
# Whole workspaces are erased by what the schema tells, not by what the code knows.
_ERASED_BY_REFERENCES = ("workspaces",)


@dataclass(frozen=True, slots=True)
class Finding:
    revision: str
    rule: str
    about: str

    def __str__(self) -> str:
        return f"{self.revision} {self.rule}: {self.about}\n    {RULES[self.rule]}"


def lint(chain: Sequence[Migration], previous_head: str, previous_texts: Collection[str]) -> list[Finding]:
    """What is wrong with the steps since ``BASELINE``, given the previous release: the revision that its code was made
    for, and all texts in that code."""
    names = [migration.revision for migration in chain]
    found: list[Finding] = []
    for migration in chain[names.index(BASELINE) + 1 :]:
        # Of a step that was released the previous release's code is the proof.
        released = names.index(migration.revision) <= names.index(previous_head)
        texts: Collection[str] = () if released else previous_texts
        refusals = list(_refusals(migration.step, texts))
        if not released and _order(names, migration.compatible_from) > names.index(previous_head):
            refusals.append(("cuts-off-previous-release", f"compatible_from={migration.compatible_from!r}"))
        accepted = migration.step.accepts
        found += [Finding(migration.revision, rule, about) for rule, about in refusals if rule not in accepted]
        unneeded = accepted.keys() - {rule for rule, _ in refusals}
        found += [Finding(migration.revision, "unneeded-acceptance", rule) for rule in sorted(unneeded)]
    return found


def _order(names: Sequence[str], revision: str) -> int:
    return names.index(revision) if revision in names else len(names)


Refusal = tuple[str, str]  # a rule, and what breaks it


def _refusals(step: Step, previous_texts: Collection[str]) -> Iterator[Refusal]:
    statements = [_flat(statement) for statement in (*step.statements, *step.sqlite, *step.postgresql)]
    if [bool(statements), bool(step.indexes), bool(step.backfill)].count(True) != 1:
        yield (
            "one-kind",
            f"{len(statements)} statements, {len(step.indexes)} indexes, {bool(step.backfill):d} backfills",
        )
    if step.phase == "contract" and not step.compatible_from:
        yield "no-compatible-from", step.phase
    if step.phase == "expand" and step.compatible_from:
        yield "expand-cuts-off", f"compatible_from={step.compatible_from!r}"
    for index in map(_flat, step.indexes):
        if not _INDEX.match(index):
            yield "unknown-statement", index
        elif _INDEX.match(index)["unique"]:  # type: ignore[index]
            yield "unique-index", index
    own = {match["table"] for statement in statements if (match := _CREATE_TABLE.match(statement))}
    changed: set[str] = set()
    for statement in statements:
        match = _TABLE.match(statement)
        if match and match["table"] not in own:
            changed.add(match["table"])
        for form, judge in _FORMS:
            if match := form.match(statement):
                yield from judge(_Case(step, statement, match, own, previous_texts))
                break
        else:
            yield "unknown-statement", statement
    if len(changed) > 1:
        yield "many-tables", ", ".join(sorted(changed))


@dataclass(frozen=True, slots=True)
class _Case:
    step: Step
    statement: str
    match: re.Match[str]
    own: Collection[str]  # tables that the step itself makes
    previous_texts: Collection[str]


def _flat(statement: str) -> str:
    return " ".join(re.sub(r"--[^\n]*", "", statement).split())


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE | re.DOTALL)


_INDEX = _form(r"CREATE (?P<unique>UNIQUE )?INDEX (?P<name>\w+) ON (?P<table>\w+)")
_CREATE_TABLE = _form(r"CREATE TABLE (?P<table>\w+)")
_TABLE = _form(r"(?:ALTER TABLE|DROP TABLE|UPDATE|DELETE FROM|INSERT INTO) (?:IF EXISTS )?(?P<table>\w+)")
_REFERENCE = re.compile(r"\bREFERENCES\s+(?P<table>\w+)(?:\s*\([^)]*\))?(?P<rest>[^,]*)", re.IGNORECASE)
_CONSTANT = re.compile(r"DEFAULT\s+(?:-?[\d.]+|'(?:[^']|'')*'|NULL|TRUE|FALSE)(?=\s|$)", re.IGNORECASE)


def _references(case: _Case) -> Iterator[Refusal]:
    for reference in _REFERENCE.finditer(case.statement):
        deletes = re.search(r"ON DELETE (CASCADE|SET NULL)", reference["rest"], re.IGNORECASE)
        if reference["table"] not in (*case.own, *_ERASED_BY_REFERENCES) and not deletes:
            yield "no-on-delete", f"{reference[0].strip()} in {case.statement}"


def _add_column(case: _Case) -> Iterator[Refusal]:
    definition = case.match["definition"]
    has_default = re.search(r"\bDEFAULT\b", definition, re.IGNORECASE)
    if re.search(r"\bNOT NULL\b", definition, re.IGNORECASE) and not has_default:
        yield "required-column", case.statement
    if re.search(r"\b(GENERATED|SERIAL|BIGSERIAL)\b", definition, re.IGNORECASE) or (
        has_default and not _CONSTANT.search(definition)
    ):
        yield "computed-default", case.statement
    if re.search(r"\b(UNIQUE|PRIMARY KEY|CHECK)\b", definition, re.IGNORECASE):
        yield "tightened", case.statement
    yield from _references(case)


def _add_constraint(case: _Case) -> Iterator[Refusal]:
    statement = case.statement
    using_index = re.search(r"\bUSING INDEX\b", statement, re.IGNORECASE)
    if not (using_index or re.search(r"\bNOT VALID$", statement, re.IGNORECASE)):
        yield "constraint-not-valid", statement
    yield "tightened", statement
    yield from _references(case)


def _validate(case: _Case) -> Iterator[Refusal]:
    if any(case.match["name"] in _flat(other) and " ADD " in _flat(other) for other in case.step.postgresql):
        yield "validate-apart", case.statement


def _drop(case: _Case) -> Iterator[Refusal]:
    if case.step.phase == "expand":
        yield "drop", case.statement
    named = re.compile(rf"\b{re.escape(case.match['name'])}\b")
    if case.match["what"].upper() in ("TABLE", "COLUMN") and any(map(named.search, case.previous_texts)):
        yield "still-used", case.statement


def _create_index(case: _Case) -> Iterator[Refusal]:
    if case.match["table"] not in case.own:
        yield "index-in-transaction", case.statement


def _rule(name: str) -> Callable[[_Case], Iterator[Refusal]]:
    return lambda case: iter([(name, case.statement)])


def _nothing(_: _Case) -> Iterator[Refusal]:
    return iter(())


# The first form that a statement has is what it is.
_FORMS: Sequence[tuple[re.Pattern[str], Callable[[_Case], Iterator[Refusal]]]] = (
    (_CREATE_TABLE, _references),
    (_INDEX, _create_index),
    (_form(r"ALTER TABLE \w+ RENAME\b"), _rule("rename")),
    (_form(r"ALTER TABLE \w+ ADD (?:CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY)\b"), _add_constraint),
    (_form(r"ALTER TABLE \w+ ADD (?:COLUMN )?\w+ (?P<definition>.*)"), _add_column),
    (_form(r"ALTER TABLE \w+ DROP (?P<what>COLUMN|CONSTRAINT) (?:IF EXISTS )?(?P<name>\w+)"), _drop),
    (_form(r"ALTER TABLE \w+ VALIDATE CONSTRAINT (?P<name>\w+)"), _validate),
    (_form(r"ALTER TABLE \w+ ALTER (?:COLUMN )?\w+ (?:SET DATA )?TYPE\b"), _rule("column-type")),
    (_form(r"ALTER TABLE \w+ ALTER (?:COLUMN )?\w+ SET NOT NULL"), _rule("tightened")),
    (_form(r"ALTER TABLE \w+ ALTER (?:COLUMN )?\w+ (?:DROP NOT NULL|SET DEFAULT)\b"), _nothing),
    (_form(r"DROP (?P<what>TABLE|VIEW|INDEX|TRIGGER|FUNCTION) (?:IF EXISTS )?(?P<name>\w+)"), _drop),
    (_form(r"(?:UPDATE|DELETE FROM) \w+"), _rule("unbounded-write")),
    (_form(r"INSERT INTO \w+.*\bSELECT\b"), _rule("unbounded-write")),
    (_form(r"INSERT INTO \w+"), _nothing),
)
