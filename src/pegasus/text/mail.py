"""Reads mails: who wrote what to whom, and the body as it was written.

kreuzberg 4.10 is not used for it: it runs the words of an HTML body together.
"""

from __future__ import annotations

from email import message_from_bytes, policy
from email.headerregistry import HeaderRegistry
from email.message import MIMEPart
from typing import Any

from pegasus.domain import Extraction
from pegasus.errors import Unreadable
from pegasus.text.composer import Composer
from pegasus.text.formats import decode_text
from pegasus.text.html import compose_html, decode_html

_SHOWN = ("From", "To", "Cc", "Date")


class _LenientHeaders(HeaderRegistry):
    """A header that the standard library stumbles over counts as empty: it must not cost the whole mail."""

    def __call__(self, name: str, value: Any) -> Any:
        try:
            return super().__call__(name, value)
        except Exception:  # noqa: BLE001 - IndexError, OverflowError and others, each from a few odd characters.
            return super().__call__(name, "")


_POLICY = policy.default.clone(header_factory=_LenientHeaders())


def read_mail(content: bytes, charset: str | None) -> Extraction:
    """Subject, sender, recipients and date, then the plain body, else the HTML one; attachments are only named."""
    message = message_from_bytes(content, policy=_POLICY)
    if not message.keys():
        raise Unreadable("The mail has no headers.", hint="Export it again as eml, or add it as .txt.")
    composer = Composer()
    composer.heading(str(message.get("Subject", "")), 1)
    facts = {name: str(message[name]) for name in _SHOWN if name in message}
    for name, value in facts.items():
        composer.block(f"{name}: {value}", tight=True)
    body = message.get_body(("plain", "html"))
    if body is not None:
        _compose_body(composer, body, charset)
    metadata = {name.lower(): value for name, value in facts.items() if name != "Date"}
    sent = message["Date"].datetime if "Date" in message else None
    metadata |= {"subject": str(message.get("Subject", "")), "created": sent.isoformat() if sent else ""}
    attachments = [part.get_filename() for part in message.iter_attachments() if part.get_filename()]
    return composer.extraction(metadata={**metadata, "attachments": attachments})


def _compose_body(composer: Composer, body: MIMEPart, charset: str | None) -> None:
    payload = body.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    declared = body.get_content_charset() or charset
    if body.get_content_subtype() == "html":
        compose_html(composer, decode_html(content, declared))
    else:
        composer.block(decode_text(content, declared))
