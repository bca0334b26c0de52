"""What a deployment that did not end as it should is told as: one line with the cause."""

from __future__ import annotations

from typing import ClassVar

from pegasus.errors import PegasusError


class NotDeployed(PegasusError):
    """Something else than what was wanted runs now; the detail is the cause."""

    code: ClassVar[str] = "not-deployed"
    title: ClassVar[str] = "Not deployed"
