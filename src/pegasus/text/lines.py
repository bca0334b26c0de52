"""Short texts that are shown on a line: titles, names, tags, addresses."""

from __future__ import annotations

from pegasus.errors import Invalid


def printable(name: str, value: str, max_length: int) -> str:
    """The value as it is. Raises ``Invalid``, calling it ``name``, for control characters and for one too long."""
    if len(value) > max_length:
        raise Invalid(
            f"The {name} has {len(value)} characters; the limit is {max_length}.", hint=f"Shorten the {name}."
        )
    if any(ord(c) < 32 or ord(c) == 127 or "\ud800" <= c <= "\udfff" for c in value):
        raise Invalid(f"The {name} has control characters.", hint="Remove them.")
    return value
