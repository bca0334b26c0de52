"""Short texts that are shown on a line: titles, names, tags, addresses."""

from __future__ import annotations

import re

from pegasus.errors import Invalid

# Controls but newline and tab, the line ends that only some programs know, and what turns the direction of writing.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(name: str, value: str, max_length: int) -> str:
    """The value as it is. Raises ``Invalid``, calling it ``name``, for control characters and for one too long."""
    if len(value) > max_length:
        raise Invalid(
            f"The {name} has {len(value)} characters; the limit is {max_length}.", hint=f"Shorten the {name}."
        )
    if any(ord(c) < 32 or ord(c) == 127 or "\ud800" <= c <= "\udfff" for c in value):
        raise Invalid(f"The {name} has control characters.", hint="Remove them.")
    return value


def visible(text: str) -> str:
    """The text with what a terminal would obey written out, as JSON writes it; line breaks and tabs stay."""
    return _COMMANDS.sub(lambda command: f"\\u{ord(command[0]):04x}", text)


def visible_line(text: str) -> str:
    """As ``visible``, for what has to stand on one line."""
    return visible(text).replace("\n", "\\u000a").replace("\t", "\\u0009")
