"""What a careful client knows: each document that was accepted, by its name, and what must be true of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Entry:
    """A document as it was accepted last. Its words stand in no other document and in no other version of it."""

    uri: str
    words: tuple[str, ...]
    version: int
    document_id: str = ""  # Empty for a member of an archive, which is accepted before it is a document.
    job_id: str = ""  # What takes it in; of a member that is the archive's.
    form: str = "text"


class Ledger:
    """Written by the one who works, read by the one who inspects and by those who save in between."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: dict[str, Entry] = {}
        self._erased: dict[str, Entry] = {}
        self._under_way = ""
        self.jobs: set[str] = set()  # Every job that an answer has named.
        self.removed_sources: set[str] = set()

    def accepted(self, entry: Entry) -> None:
        with self._lock:
            self._live[entry.uri] = entry
            if entry.job_id:
                self.jobs.add(entry.job_id)

    def begin(self, uri: str) -> None:
        """From here to the next step the server may have done something with a document that nobody was told of."""
        with self._lock:
            self._under_way = uri

    def known(self, uri: str, document_id: str) -> Entry:
        """The entry, now that its document is known by its id."""
        with self._lock:
            self._live[uri] = replace(self._live[uri], document_id=document_id)
            return self._live[uri]

    def erased(self, uri: str, job_id: str | None) -> None:
        with self._lock:
            entry = self._live.pop(uri)
            self._erased[entry.document_id] = entry
            if job_id:
                self.jobs.add(job_id)

    def entry(self, uri: str) -> Entry:
        with self._lock:
            return self._live[uri]

    @property
    def live(self) -> Mapping[str, Entry]:
        with self._lock:
            return dict(self._live)

    @property
    def settled(self) -> Mapping[str, Entry]:
        """Documents of which every answer is known."""
        with self._lock:
            return {uri: entry for uri, entry in self._live.items() if uri != self._under_way}

    @property
    def gone(self) -> Mapping[str, Entry]:
        """By the ids of the documents that they were."""
        with self._lock:
            return dict(self._erased)
