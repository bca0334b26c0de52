"""A plan for people, and its templates as files."""

from __future__ import annotations

from pathlib import Path

from pegasus.errors import Invalid
from pegasus.printing import console, plain, state, table
from pegasus_aws import names
from pegasus_aws.plan.planner import Plan


def print_plan(plan: Plan, *, with_exceptions: bool) -> None:
    out = console()
    out.print(f"[bold]Pegasus {plan.environment.name}[/] in {plan.environment.region}")
    _stacks(plan)
    _checks(plan)
    _price(plan)
    _differences(plan)
    for finding in plan.findings:
        out.print(f"[red]{plain(finding.rule)}[/] {finding.stack}/{plain(finding.resource)}: {plain(finding.message)}")
        out.print(f"  Next: {plain(finding.hint)}")
    if with_exceptions:
        _exceptions(plan)
    elif plan.exceptions:
        out.print(f"{len(plan.exceptions)} resources depart from a rule and say why: --exceptions shows them.")
    if plan.environment.missing:
        out.print(f"Before it is built, name in a file of your own: {', '.join(plan.environment.missing)}.")
    out.print("It may be applied." if plan.may_be_applied else "It may NOT be applied.")


def _stacks(plan: Plan) -> None:
    stacks = table("stack", "resources", "kB", "what most of them are")
    for stack in plan.as_dict()["stacks"]:
        most = sorted(stack["types"].items(), key=lambda kind: -kind[1])[:4]
        kinds = ", ".join(f"{number} {kind.removeprefix('AWS::')}" for kind, number in most)
        stacks.add_row(stack["name"], str(stack["resources"]), f"{stack['bytes'] / 1000:.0f}", kinds)
    console().print(stacks)


def _checks(plan: Plan) -> None:
    checks = table("check", "state", "seconds", "note")
    for check in plan.checks:
        checks.add_row(check.name, state(check.outcome), f"{check.seconds:.1f}", plain(check.note))
    console().print(checks)


def _price(plan: Plan) -> None:
    budget = plan.environment.budget
    most = ", ".join(f"{service} {usd:,.0f}" for service, usd in list(plan.estimate.by_service().items())[:4])
    console().print(
        f"{plan.estimate.monthly_usd:,.0f} USD a month ({most}, ...); the budget is {budget.least_usd:,.0f} to "
        f"{budget.most_usd:,.0f}, the prices of {plan.estimate.book.read}. All of it: pegasus aws cost."
    )
    for warning in plan.estimate.warnings:
        console().print(f"[yellow]{plain(warning)}[/]")


def _differences(plan: Plan) -> None:
    if not plan.differences:
        return
    found = table("stack", "state", "change", "resource", "type", "replaced")
    for one in plan.differences:
        if not one.changes:
            found.add_row(one.stack, one.status or "new", "none" if one.status else "all of it", "", "", "")
        for change in one.changes:
            replaced = {"True": "[red]yes[/]", "Conditional": "perhaps"}.get(change.replacement, "")
            found.add_row(one.stack, one.status, change.action, change.resource, change.type, replaced)
    console().print(found)


def _exceptions(plan: Plan) -> None:
    found = table("stack", "resource", "rule", "reason")
    for one in plan.exceptions:
        found.add_row(one["stack"], one["resource"], one["rule"], plain(one["reason"]))
    console().print(found)


def write_templates(plan: Plan, directory: Path) -> None:
    """Raises ``Invalid`` where they cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for stack in plan.stacks:
            file = directory / f"{names.stack(plan.environment, stack.name)}.json"
            file.write_text(stack.template.to_json(indent=1) + "\n", "utf-8")
    except OSError as error:
        raise Invalid(
            f"The templates cannot be written to {directory}: {error.strerror}.", hint="Name another --out."
        ) from error
