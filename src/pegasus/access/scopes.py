"""What a key may do, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pegasus.domain import Rate
from pegasus.errors import Forbidden


class Scope(StrEnum):
    """From least to most; each may do all that those before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"  # All of one workspace
    OPERATOR = "operator"  # The installation: workspaces, whole stores, metrics

    def covers(self, other: Scope) -> bool:
        return _ORDER[self] >= _ORDER[other]


_ORDER = {scope: place for place, scope in enumerate(Scope)}


@dataclass(frozen=True, slots=True)
class Principal:
    """The key of a request and what it opens."""

    key_id: str
    workspace_id: str
    scope: Scope
    expires_at: float | None = None
    rate_limit: Rate | None = None  # None: the installation's
    max_body_bytes: int | None = None  # None: the installation's

    def require(self, scope: Scope) -> None:
        """Raises ``Forbidden`` where the key's scope does not cover this one."""
        if not self.scope.covers(scope):
            raise Forbidden(
                f"This needs a key with the scope {scope.value}; yours has {self.scope.value}.",
                hint=f"Ask for one that was made with: pegasus keys create NAME --scope {scope.value}",
            )
