"""The embeddings that a custom store is handed: they answer with the vectors that memrelay has already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from memrelay.types import vector_from_bytes

QUERY = "memrelay"
"""What a store is told to search for: it asks for the vector of this text, and gets that of the query."""


class GivenEmbeddings:
    """The face of agent-memory-server's embeddings. Each call of the store sees its own vectors."""

    def __init__(self) -> None:
        self._given: ContextVar[Mapping[str, bytes]] = ContextVar("given")

    @contextmanager
    def giving(self, vectors: Mapping[str, bytes]) -> Iterator[None]:
        """Within it, ``vectors`` (float32 bytes) by text are what can be embedded."""
        token = self._given.set(vectors)
        try:
            yield
        finally:
            self._given.reset(token)

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """``LookupError`` for a text that memrelay did not ask the store to keep or to find."""
        given = self._given.get({})
        for text in texts:
            if text not in given:
                raise LookupError("the store embeds a text that memrelay did not give it")
        return [vector_from_bytes(given[text]) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return self.embed_query(text)
