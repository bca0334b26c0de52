"""Show that a backup can be lived with: what was restored is searched and asked, and its citations are verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pegasus.chat.citations import verifies
from pegasus.chat.service import ChatService
from pegasus.domain import Passage
from pegasus.ingestion import service as ingestion
from pegasus.integrity.restore import Restored
from pegasus.ports import Progress, RelationalStore
from pegasus.search.service import SearchService

_QUESTIONS = 20
# So many words in a row stand in few other passages; where they do, these will do as well.
_WORDS = 12


@dataclass(frozen=True, slots=True)
class Drill:
    """What came of it. Every passage must be found by its own words, and every citation must verify."""

    restored: Restored
    searches: int
    found: int
    citations: int
    verified: int

    @property
    def passed(self) -> bool:
        return self.found == self.searches and self.verified == self.citations

    def report(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            **self.restored.report(),
            "searches": self.searches,
            "found": self.found,
            "citations": self.citations,
            "verified": self.verified,
        }


def try_out(
    restored: Restored, relational: RelationalStore, search: SearchService, chat: ChatService, progress: Progress
) -> Drill:
    with relational.read() as tx:
        samples = [(w, passage) for w, passage in ingestion.samples(tx, _QUESTIONS) if _question(passage)]
    found = citations = verified = 0
    with restored.timed("questions"):
        for number, (workspace_id, passage) in enumerate(samples):
            progress("Questions", number, len(samples))
            question = _question(passage)
            passages = search.search(workspace_id, question)
            found += any(question in " ".join(one.passage.text.split()) for one in passages)
            answer = chat.ask(workspace_id, question)
            citations += len(answer.citations)
            with relational.read() as tx:
                verified += sum(verifies(tx, workspace_id, citation) for citation in answer.citations)
    return Drill(restored, len(samples), found, citations, verified)


def _question(passage: Passage) -> str:
    """The first words of a passage; empty where it has none to search for."""
    words = " ".join(passage.text.split()[:_WORDS])[:1_000]
    return words if any(character.isalnum() for character in words) else ""
