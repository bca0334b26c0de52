"""The vectors of questions: asked again within the hour, of whichever process, a question is not embedded again."""

from __future__ import annotations

import hashlib

import numpy as np

from pegasus import metrics
from pegasus.ports import Cache, Embedder, Vector

_KEEP_SECONDS = 3_600
_BYTES = 4  # Of a number
# As exact as vectors of unit length are; other bytes than were put make no such vector.
_UNIT_WITHIN = 1e-3


class Questions:
    """What is in the cache tells nothing to who does not know the question and the workspace already: it is kept
    under a digest of both, and covered by another one. So no erasure has to look for it, nobody finds out what
    another workspace has asked, and who reads along on the cache reads noise."""

    def __init__(self, embedder: Embedder, cache: Cache | None = None) -> None:
        self._embedder, self._cache = embedder, cache

    def vector(self, workspace_id: str, question: str) -> Vector:
        if self._cache is None:
            return self._embedded(question)
        secret = f"{self._embedder.name}\0{workspace_id}\0{question}".encode("utf-8", "surrogatepass")
        name = hashlib.sha256(b"name\0" + secret).hexdigest()
        cover = hashlib.shake_256(b"cover\0" + secret).digest(self._embedder.dimensions * _BYTES)
        vector = self._read(self._cache.get(name), cover)
        if vector is not None:
            metrics.QUESTION_HITS.inc()
            return vector
        metrics.QUESTION_MISSES.inc()
        vector = self._embedded(question)
        self._cache.put(name, _covered(vector.astype("<f4").tobytes(), cover), _KEEP_SECONDS)
        return vector

    def _embedded(self, question: str) -> Vector:
        vector: Vector = self._embedder.embed([question])[0]
        return vector

    def _read(self, kept: bytes | None, cover: bytes) -> Vector | None:
        """None for what is no vector, whoever put it there."""
        if kept is None or len(kept) != len(cover):
            return None
        vector = np.frombuffer(_covered(kept, cover), "<f4").astype(np.float32)
        with np.errstate(all="ignore"):
            return vector if abs(float(np.linalg.norm(vector)) - 1) < _UNIT_WITHIN else None


def _covered(data: bytes, cover: bytes) -> bytes:
    return (np.frombuffer(data, np.uint8) ^ np.frombuffer(cover, np.uint8)).tobytes()
