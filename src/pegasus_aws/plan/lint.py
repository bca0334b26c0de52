"""cfn-lint over the templates: it caught every broken resource that was planted, which no emulator did."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING

from pegasus_aws.plan.findings import Finding

if TYPE_CHECKING:
    from cfnlint.rules import Rules

    from pegasus_aws.constructs.stack import Stack

_MOST_PROCESSES = 4


def lint(stacks: Sequence[Stack]) -> list[Finding]:
    """Errors stop a plan. A warning does so too, unless the resource says why it is so.

    In processes of its own, one a processor: it takes a second a template.
    """
    work = [(stack.name, stack.body(), stack.environment.region) for stack in stacks]
    work.sort(key=lambda one: -len(one[1]))
    processes = min(os.cpu_count() or 1, len(work), _MOST_PROCESSES)
    # Spawned, for a caller may have threads; the largest first, so that none is left with it at the end.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        found = dict(zip((name for name, *_ in work), pool.map(lint_one, *zip(*work, strict=True)), strict=True))
    return [finding for stack in stacks for finding in found[stack.name]]


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
