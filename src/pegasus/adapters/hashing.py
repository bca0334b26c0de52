"""Embeddings by feature hashing: no model and no meaning, only words; for load tests, where speed is measured."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from pegasus.ports import Vectors

_WORD = re.compile(r"\w+")


class HashEmbedder:
    name = "hash-384@1"
    dimensions = 384

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Signed feature hashing (Weinberger et al. 2009) of lowercase words, scaled to unit length."""
        result = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            codes = np.array([zlib.crc32(word.encode()) for word in _WORD.findall(text.lower())] or [0], np.int64)
            np.add.at(result[row], (codes >> 1) % self.dimensions, np.where(codes & 1, 1.0, -1.0))
            norm = float(np.linalg.norm(result[row]))
            if norm == 0:  # Words may cancel out; a vector of unit length is promised all the same.
                result[row, 0] = norm = 1.0
            result[row] /= norm
        return result
