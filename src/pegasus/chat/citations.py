"""A citation leaves Pegasus only after the stored text has been looked at again and says what it claims."""

from __future__ import annotations

from pegasus.documents import service as documents
from pegasus.domain import Citation
from pegasus.errors import Conflict, NotFound
from pegasus.identifiers import sha256_hex
from pegasus.ports import Transaction


def verifies(tx: Transaction, workspace_id: str, citation: Citation) -> bool:
    """Whether document, version, span, quote and SHA-256 all agree with the stored text."""
    try:
        stored = documents.read_text(tx, workspace_id, citation.document_id, citation.version)
    except (NotFound, Conflict):
        return False
    quoted = stored.text[citation.start : citation.end]
    return bool(quoted) and quoted == citation.quote and sha256_hex(quoted) == citation.sha256
