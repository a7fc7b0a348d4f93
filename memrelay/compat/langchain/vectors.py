"""``VectorStore`` on one source of memrelay."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import batched
from typing import Any, Literal, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from memrelay.client import AsyncMemrelay, Hit, Memrelay, NewMemory, SearchAnswer
from memrelay.compat.langchain.diversity import diverse
from memrelay.compat.langchain.documents import (
    Owner,
    check_stored,
    document_of,
    in_requests,
    memories_of,
)
from memrelay.jobs import MAX_COUNT

Mode = Literal["semantic", "keyword", "hybrid"]
Vector = Sequence[float]
WAIT_SECONDS = 30.0
IDS_AT_ONCE = 500
FILTER_BYTES = 12 * 1024
"""Of the ids in one delete by filter: such a filter has 16 KiB at most."""
EVERYTHING: Mapping[str, Any] = {"id": {"$exists": True}}


class MemrelayVectorStore(VectorStore):
    """The memories of one source, or in it of one user or session, as documents.

    With ``embedding`` its vectors are the caller's, and the source is one with
    ``embedding = "external"`` and their ``dimensions``; without, the service embeds. ``relay``: a client
    at ``MEMRELAY_URL`` unless given. ``wait``: the seconds that a write waits until it can be
    found; 0: not at all, then a search may miss it for a moment. One that takes longer is accepted all the
    same and will be stored.

    ``filter`` is memrelay's: ``{"metadata.year": {"$gte": 2020}}``. Scores are cosines, from -1 to
    1, and fused ones in ``mode`` ``hybrid``. ``k`` is 200 at most.
    """

    def __init__(
        self,
        embedding: Embeddings | None = None,
        *,
        relay: Memrelay | None = None,
        source: str = "default",
        user_id: str | None = None,
        session_id: str | None = None,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self.relay = relay or Memrelay()
        self.source = source
        self.wait = wait
        self._embedding = embedding
        self._owner = Owner()
        if user_id is not None:
            self._owner["user_id"] = user_id
        if session_id is not None:
            self._owner["session_id"] = session_id

    @property
    def embeddings(self) -> Embeddings | None:
        return self._embedding

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> Self:
        """A store with these ``options`` to which the texts were added: what it held before, it holds."""
        store = cls(embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> Self:
        store = cls(embedding, **options)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        wait: float | None = None,
        **_: Any,
    ) -> list[str]:
        """Add texts, or replace those whose ids are there already; their ids in order.

        ``Permanent`` if a store or a model refused one. ``wait`` as the store's.
        """
        new = memories_of(list(texts), metadatas, ids, self._owner)
        vectors = None
        if self._embedding is not None:
            vectors = self._embedding.embed_documents([memory["text"] for memory in new])
        return self.relay.run(self._add, new, vectors, wait)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        wait: float | None = None,
        **_: Any,
    ) -> list[str]:
        new = memories_of(list(texts), metadatas, ids, self._owner)
        vectors = None
        if self._embedding is not None:
            vectors = await self._embedding.aembed_documents([memory["text"] for memory in new])
        return await self.relay.arun(self._add, new, vectors, wait)

    def delete(
        self, ids: list[str] | None = None, *, filter: Mapping[str, Any] | None = None, **_: Any
    ) -> bool:
        """Delete by ids, or what a filter selects; all of the store's if neither is given."""
        return self.relay.run(self._delete, ids, filter)

    async def adelete(
        self, ids: list[str] | None = None, *, filter: Mapping[str, Any] | None = None, **_: Any
    ) -> bool:
        return await self.relay.arun(self._delete, ids, filter)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Those that are there, in the order of ``ids``."""
        return self.relay.run(self._get, ids)

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return await self.relay.arun(self._get, ids)

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """The best ``k``; ``options`` are ``filter`` and ``mode``."""
        return _documents(self.similarity_search_with_score(query, k, **options))

    async def asimilarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        return _documents(await self.asimilarity_search_with_score(query, k, **options))

    def similarity_search_with_score(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        vector = self._vector_of(query)
        return _scored(self.relay.run(self._search, query, vector, k, **options).hits)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        vector = await self._avector_of(query)
        return _scored((await self.relay.arun(self._search, query, vector, k, **options)).hits)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Any
    ) -> list[Document]:
        found = self.relay.run(self._search, None, embedding, k, **options)
        return [document_of(hit) for hit in found.hits]

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Any
    ) -> list[Document]:
        found = await self.relay.arun(self._search, None, embedding, k, **options)
        return [document_of(hit) for hit in found.hits]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """``k`` of the best ``fetch_k`` (at most 200), less alike the smaller ``lambda_mult``."""
        vector = self._vector_of(query)
        found = self.relay.run(self._search, query, vector, fetch_k, vectors=True, **options)
        return [document_of(hit) for hit in diverse(found.hits, k, lambda_mult)]

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        vector = await self._avector_of(query)
        found = await self.relay.arun(self._search, query, vector, fetch_k, vectors=True, **options)
        return [document_of(hit) for hit in diverse(found.hits, k, lambda_mult)]

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,
    ) -> list[Document]:
        found = self.relay.run(self._search, None, embedding, fetch_k, vectors=True, **options)
        return [document_of(hit) for hit in diverse(found.hits, k, lambda_mult)]

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,
    ) -> list[Document]:
        found = await self.relay.arun(
            self._search, None, embedding, fetch_k, vectors=True, **options
        )
        return [document_of(hit) for hit in diverse(found.hits, k, lambda_mult)]

    def _select_relevance_score_fn(self) -> Any:
        """LangChain's relevance is from 0 to 1."""
        return lambda cosine: min(1.0, max(0.0, (1 + cosine) / 2))

    def _vector_of(self, query: str) -> Vector | None:
        return None if self._embedding is None else self._embedding.embed_query(query)

    async def _avector_of(self, query: str) -> Vector | None:
        return None if self._embedding is None else await self._embedding.aembed_query(query)

    async def _add(
        self,
        client: AsyncMemrelay,
        new: Sequence[NewMemory],
        vectors: Sequence[Vector] | None,
        wait: float | None,
    ) -> list[str]:
        if vectors is not None:
            for memory, vector in zip(new, vectors, strict=True):
                memory["vector"] = vector
        ids: list[str] = []
        for part in in_requests(new):
            accepted = await client.add(
                part, source=self.source, wait=self.wait if wait is None else wait
            )
            check_stored(accepted.job)
            ids += (memory.id for memory in accepted.memories)
        return ids

    async def _delete(
        self,
        client: AsyncMemrelay,
        ids: Sequence[str] | None,
        filter: Mapping[str, Any] | None,
    ) -> bool:
        if ids is not None and filter is None and not self._owner:
            for part in batched(ids, MAX_COUNT):
                await client.delete_many(part, source=self.source, wait=self.wait)
            return True
        for chosen in [filter or EVERYTHING] if ids is None else _chosen(ids, filter):
            await client.delete_where(
                filter=chosen, source=self.source, wait=self.wait, **self._owner
            )
        return True

    async def _get(self, client: AsyncMemrelay, ids: Sequence[str]) -> list[Document]:
        found: dict[str, Document] = {}
        for part in batched(dict.fromkeys(ids), IDS_AT_ONCE):
            page = await client.list_memories(
                filter={"id": {"$in": list(part)}},
                limit=IDS_AT_ONCE,
                source=self.source,
                **self._owner,
            )
            found |= {memory.id: document_of(memory) for memory in page.memories}
        return [found[id] for id in dict.fromkeys(ids) if id in found]

    async def _search(
        self,
        client: AsyncMemrelay,
        query: str | None,
        vector: Vector | None,
        k: int,
        *,
        filter: Mapping[str, Any] | None = None,
        mode: Mode = "semantic",
        vectors: bool = False,
    ) -> SearchAnswer:
        return await client.search(
            query if vector is None or mode != "semantic" else None,
            vector=vector if mode != "keyword" else None,
            mode=mode,
            top_k=k,
            filter=filter,
            include=["text", "metadata", "vector"] if vectors else None,
            source=self.source,
            **self._owner,
        )


def _chosen(ids: Sequence[str], filter: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Filters for these ids, and for ``filter`` of them, each as long as that of a delete may be."""
    part, size = list[str](), 0
    for id in ids:
        more = len(json.dumps(id, ensure_ascii=False).encode())
        if part and size + more > FILTER_BYTES:
            yield _both(part, filter)
            part, size = [], 0
        part.append(id)
        size += more
    if part:
        yield _both(part, filter)


def _both(ids: Sequence[str], filter: Mapping[str, Any] | None) -> Mapping[str, Any]:
    named = {"id": {"$in": list(ids)}}
    return named if filter is None else {"$and": [named, filter]}


def _documents(found: Sequence[tuple[Document, float]]) -> list[Document]:
    return [document for document, _ in found]


def _scored(hits: Sequence[Hit]) -> list[tuple[Document, float]]:
    return [(document_of(hit), hit.score) for hit in hits]
