"""An embedder that counts what is asked of it, under the names of ``backends/journal/totals.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backends.embedding.tokens import estimate_tokens
from memrelay.embedder import Embedder


class CountedEmbedder:
    """The embedder, and ``counts``: calls, texts, estimated tokens and failures."""

    def __init__(self, embedder: Embedder, counts: Counter[str]) -> None:
        self._embedder = embedder
        self._counts = counts
        self.space = embedder.space
        self.max_inputs = embedder.max_inputs

    async def open(self) -> None:
        await self._embedder.open()
        self.space = self._embedder.space

    async def close(self) -> None:
        await self._embedder.close()

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        self._counts["embedding|calls"] += 1
        self._counts["embedding|texts"] += len(texts)
        self._counts["embedding|tokens"] += sum(map(estimate_tokens, texts))
        try:
            return await self._embedder.embed(texts)
        except BaseException:
            self._counts["embedding|failures"] += 1
            raise
