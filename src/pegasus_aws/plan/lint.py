"""cfn-lint over the templates: it caught every broken resource that was planted, which no emulator did."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from pegasus_aws.plan.findings import Finding

if TYPE_CHECKING:
    from cfnlint.rules import Rules

    from pegasus_aws.constructs.stack import Stack


def lint(stacks: Sequence[Stack]) -> list[Finding]:
    """Errors stop a plan. A warning does so too, unless the resource says why it is so.

    In one process: cfn-lint takes longer to import than all templates to check.
    """
    return [finding for one in stacks for finding in lint_one(one.name, one.body(), one.environment.region)]


def lint_one(stack: str, body: str, region: str) -> list[Finding]:
    from cfnlint.config import ConfigMixIn
    from cfnlint.decode.decode import decode_str
    from cfnlint.runner import run_template_by_data

    template, broken = decode_str(body)
    matches = broken or run_template_by_data(template, ConfigMixIn(regions=[region]), _rules())
    return [
        Finding(
            check="cfn-lint",
            rule=match.rule.id,
            stack=stack,
            resource=str(match.path[1]) if match.path and len(match.path) > 1 else "template",
            message=match.message,
            hint=f"Mend the resource, or say why it is so with because(); {match.rule.source_url}",
        )
        for match in matches
    ]


@cache
def _rules() -> Rules:
    """The rules take half as long to load as a template to check, and cfn-lint's own door loads them each time."""
    from cfnlint.config import ConfigMixIn
    from cfnlint.runner import Runner

    return Runner(ConfigMixIn([])).rules
