"""Makes a plan: each check in turn, none stopping the next, so that all that is wrong is told at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pegasus_aws.clients.cloudformation import Difference
from pegasus_aws.constructs.stack import Stack
from pegasus_aws.cost import Estimate
from pegasus_aws.environments import Environment
from pegasus_aws.plan.checkov import check_with_checkov
from pegasus_aws.plan.difference import differences, refused
from pegasus_aws.plan.findings import Finding, NotRun
from pegasus_aws.plan.lint import lint
from pegasus_aws.plan.policy import check_policy, exceptions
from pegasus_aws.plan.price import estimate_of, over_budget
from pegasus_aws.plan.synthesis import synthesise, system_of
from pegasus_aws.prices.book import book_for

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    outcome: Outcome
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    environment: Environment
    stacks: tuple[Stack, ...]
    estimate: Estimate
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    exceptions: tuple[Mapping[str, str], ...]  # What departs from a rule, and why it may.
    differences: tuple[Difference, ...]  # From what runs; none where nobody could be asked.

    @property
    def may_be_applied(self) -> bool:
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        return {
            "environment": self.environment.name,
            "region": self.environment.region,
            "may_be_applied": self.may_be_applied,
            "missing": list(self.environment.missing),
            "monthly_usd": self.estimate.monthly_usd,
            "stacks": [_outline(stack) for stack in self.stacks],
            "checks": [asdict(check) for check in self.checks],
            "findings": [asdict(finding) for finding in self.findings],
            "exceptions": [dict(one) for one in self.exceptions],
            "differences": [asdict(one) for one in self.differences],
        }


def make_plan(environment: Environment, *, with_checkov: bool, with_difference: bool = True) -> Plan:
    """``with_difference``: ask what would change of what runs. An apply does that itself, stack by stack."""
    start = time.perf_counter()
    stacks = synthesise(environment)
    system = system_of(environment, stacks)
    estimate = estimate_of(environment, book_for(environment.region), stacks)
    checks = [Check("synthesis", "passed", time.perf_counter() - start)]
    wanted: dict[str, Callable[[], Sequence[Finding]]] = {
        "policy": lambda: check_policy(system),
        "price": lambda: over_budget(estimate),
        "cfn-lint": lambda: lint(stacks),
    }
    if with_checkov:
        wanted["checkov"] = lambda: check_with_checkov(system)
    running: list[Difference] = []

    def compare() -> Sequence[Finding]:
        running.extend(differences(stacks))
        return refused(running)

    if with_difference:
        wanted["difference"] = compare
    findings: list[Finding] = []
    for name, check in wanted.items():
        made, found = _run(name, check)
        checks.append(made)
        findings += found
    return Plan(
        environment, stacks, estimate, tuple(checks), tuple(findings), tuple(exceptions(system)), tuple(running)
    )


def _run(name: str, check: Callable[[], Sequence[Finding]]) -> tuple[Check, Sequence[Finding]]:
    start = time.perf_counter()
    try:
        found = check()
    except NotRun as why:
        return Check(name, "skipped", time.perf_counter() - start, str(why)), ()
    note = f"{len(found)} found" if found else ""
    return Check(name, "failed" if found else "passed", time.perf_counter() - start, note), found


def _outline(stack: Stack) -> dict[str, Any]:
    resources = stack.template.to_dict()["Resources"]
    return {
        "name": stack.name,
        "resources": len(resources),
        "bytes": len(stack.body()),
        "types": dict(sorted(Counter(resource["Type"] for resource in resources.values()).items())),
        "termination_protection": stack.environment.protected,
    }
