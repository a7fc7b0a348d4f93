"""A model as one memory driver uses it: opened once, asked in the batches that it takes, checked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import batched

from backends.embedding.check import check_vectors
from backends.registry import create_embedder
from memrelay.embedder import Embedder


async def open_embedder(model: str) -> Embedder:
    """``ConfigError`` if there is no such model here."""
    embedder = create_embedder(model, {})
    await embedder.open()
    return embedder


async def embed(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
    """Float32 bytes for each text, in order."""
    vectors: list[bytes] = []
    for part in batched(texts, embedder.max_inputs):
        got = await embedder.embed(part)
        check_vectors(got, count=len(part), dimensions=embedder.space.dimensions)
        vectors += got
    return vectors
