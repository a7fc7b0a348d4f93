"""``local/wordllama``: WordLlama's 256 dimensions from the files inside its wheel, no network ever.

Tokenizer and weights are read without WordLlama's own code. Its ``embed`` pads every text of a batch
to the longest one, so a single text of 500 kB takes 10 GB; importing it adds a handler to the root
logger and costs a second. The vectors are the same (a test compares them), scaled to unit length.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from memrelay.errors import ConfigError, Permanent
from memrelay.types import Space

MODEL = "local/wordllama"
DIMENSIONS = 256
INLINE_CHARACTERS = 1024
MAX_INPUTS = 4096

_WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")
_LONG = 4096  # tokens; longer texts are pooled by counts, within the size of the vocabulary

# Parallel are the processes. Threads of the tokenizer's own would fight over the same cores, and
# do not survive a fork. The tokenizer reads it at every call.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@dataclass(frozen=True, slots=True)
class _Model:
    tokenizer: Tokenizer
    weights: NDArray[np.float32]


@cache
def _load() -> _Model:
    """Once for a process; loaded before a fork, its 32 MB are shared by the children."""
    package = find_spec("wordllama")
    if package is None or package.origin is None:
        raise ConfigError(
            f"{MODEL}: the package wordllama is missing: pip install 'memrelay[server]'"
        )
    folder = Path(package.origin).parent
    for file in (_WEIGHTS, _TOKENIZER):
        if not (folder / file).is_file():
            raise ConfigError(
                f"{MODEL}: this wordllama has no {file}: install wordllama 0.4.0.post1"
            )
    tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = load_file(folder / _WEIGHTS)["embedding.weight"]
    return _Model(tokenizer, np.ascontiguousarray(weights, dtype=np.float32))


class LocalEmbedder:
    """Mean of the tokens' vectors, at unit length; the same text always has the same vector.

    The empty text has no tokens. It gets the unit vector whose components are all equal, so that a
    memory without words can be stored; its similarity to other texts means nothing.
    """

    def __init__(self) -> None:
        self.space = Space(MODEL, DIMENSIONS)
        self.max_inputs = MAX_INPUTS
        self._model = _load()

    async def open(self) -> None:
        """Nothing to do: the model was loaded when the embedder was made."""

    async def close(self) -> None:
        """Nothing to give back: the model is the process's."""

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """In a thread: the tokenizer, four fifths of the work, lets the event loop go on.

        A query or two are done before a thread would have begun.
        """
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            return self._embed(list(texts))
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> list[bytes]:
        sums = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, ids in zip(sums, self._tokenize(texts), strict=True):
            if ids:
                self._pool(ids, row)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        empty = norms[:, 0] == 0
        sums[empty], norms[empty] = 1.0, DIMENSIONS**0.5
        sums /= norms
        return [row.tobytes() for row in sums]

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        try:
            encoded = self._model.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError:
            raise Permanent("a text is not valid unicode", code="embedding_text") from None
        return [encoding.ids for encoding in encoded]

    def _pool(self, ids: list[int], out: NDArray[np.float32]) -> None:
        if len(ids) <= _LONG:
            self._model.weights.take(ids, axis=0).sum(axis=0, out=out)
            return
        seen, counts = np.unique(ids, return_counts=True)
        np.matmul(counts.astype(np.float32), self._model.weights.take(seen, axis=0), out=out)
