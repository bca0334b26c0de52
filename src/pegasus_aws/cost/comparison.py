"""Two estimates beside each other: before and after a change, or of two environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pegasus_aws.cost.estimates import Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    title: str  # What the second one is.
    before: Estimate
    after: Estimate

    @property
    def difference_usd(self) -> float:
        return round(self.after.monthly_usd - self.before.monthly_usd, 2)

    def by_service(self) -> dict[str, tuple[float, float]]:
        """(before, after) of every service that either has."""
        before, after = self.before.by_service(), self.after.by_service()
        return {name: (before.get(name, 0.0), after.get(name, 0.0)) for name in dict.fromkeys((*before, *after))}

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "monthly_usd": self.after.monthly_usd,
            "difference_usd": self.difference_usd,
            "differences": {
                name: round(after - before, 2) for name, (before, after) in self.by_service().items() if after != before
            },
            "estimate": self.after.as_dict(),
        }
