"""Makes a plan: each check in turn, none stopping the next, so that all that is wrong is told at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pegasus_aws.constructs.stack import Stack
from pegasus_aws.environments import Environment
from pegasus_aws.plan.findings import Finding
from pegasus_aws.plan.synthesis import synthesise

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
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]

    @property
    def may_be_applied(self) -> bool:
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        return {
            "environment": self.environment.name,
            "region": self.environment.region,
            "may_be_applied": self.may_be_applied,
            "missing": list(self.environment.missing),
            "stacks": [_outline(stack) for stack in self.stacks],
            "checks": [asdict(check) for check in self.checks],
            "findings": [asdict(finding) for finding in self.findings],
        }


def make_plan(environment: Environment, *, with_checkov: bool) -> Plan:
    from pegasus_aws.plan.lint import lint

    start = time.perf_counter()
    stacks = synthesise(environment)
    checks = [Check("synthesis", "passed", time.perf_counter() - start)]
    findings: list[Finding] = []
    for name, check in (("cfn-lint", lint),):
        made, found = _run(name, check, stacks)
        checks.append(made)
        findings += found
    return Plan(environment, stacks, tuple(checks), tuple(findings))


def _run(
    name: str, check: Callable[[tuple[Stack, ...]], list[Finding]], stacks: tuple[Stack, ...]
) -> tuple[Check, list[Finding]]:
    start = time.perf_counter()
    found = check(stacks)
    return Check(name, "failed" if found else "passed", time.perf_counter() - start), found


def _outline(stack: Stack) -> dict[str, Any]:
    resources = stack.template.to_dict()["Resources"]
    return {
        "name": stack.name,
        "resources": len(resources),
        "bytes": len(stack.body()),
        "types": dict(sorted(Counter(resource["Type"] for resource in resources.values()).items())),
    }
