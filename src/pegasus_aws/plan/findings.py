"""What a check found wrong, whoever checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    check: str  # cfn-lint, policy or checkov
    rule: str
    stack: str
    resource: str
    message: str
    hint: str


class NotRun(Exception):
    """A check could not be made; the text says why and what to do. It neither passed nor failed."""
