"""cfn-lint over the templates: it caught every broken resource that was planted, which no emulator did."""

from __future__ import annotations

from collections.abc import Iterable

from cfnlint.api import lint as cfn_lint
from cfnlint.config import ManualArgs

from pegasus_aws.constructs.stack import Stack
from pegasus_aws.plan.findings import Finding


def lint(stacks: Iterable[Stack]) -> list[Finding]:
    """Errors stop a plan; a warning does so too, unless the resource says why it is so."""
    found = []
    for stack in stacks:
        arguments = ManualArgs(regions=[stack.environment.region])
        for match in cfn_lint(stack.body(), config=arguments):
            place = match.path[1] if match.path and len(match.path) > 1 else None
            found.append(
                Finding("cfn-lint", match.rule.id, stack.name, str(place or "template"), match.message, match.rule.source_url)
            )
    return found
