"""``StoreShelf``: memories and documents in one of memrelay's drivers, each kind a source of its own."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from uuid_utils import uuid7

from backends.memory_driver.embedding import embed, open_embedder
from backends.memory_driver.words import best_by_words
from backends.registry import create_driver
from backends.store import Store
from memrelay.compat.memory_driver.record import Found, Kind, Recall, Record, from_stored
from memrelay.driver import Query
from memrelay.embedder import Embedder
from memrelay.errors import MemrelayError
from memrelay.filters import Filter, parse_filter
from memrelay.times import now_us
from memrelay.types import Delete, Hit, Memory, Outcome, Scope, Upsert

NAMESPACE = "default"
TIMEOUT = 30.0
"""Seconds for a whole batch, which some stores embed by themselves."""
PAGE = 512


class StoreShelf:
    """Versions are the time, as the journal's are: a service with these sources finds the same memories."""

    def __init__(self, name: str, options: Mapping[str, Any], model: str) -> None:
        self._store = Store(name, create_driver(name, options), timeout=TIMEOUT)
        self._model = model
        self._embedder: Embedder | None = None
        self._last = 0

    async def open(self) -> None:
        self._embedder = await open_embedder(self._model)

    async def close(self) -> None:
        await self._store.close()
        await self._model_at_work.close()

    async def check(self) -> dict[str, Any]:
        await self._store.ping()
        return {"embedding": self._model}

    async def put(self, records: Sequence[Record]) -> list[Record | MemrelayError]:
        stored = [replace(record, id=record.fixed_id or str(uuid7())) for record in records]
        last = {(record.kind, record.id): record for record in stored}
        outcomes: dict[tuple[Kind, str], Outcome] = {}
        for kind in dict.fromkeys(record.kind for record in stored):
            chosen = [record for record in last.values() if record.kind == kind]
            for id, outcome in (await self._apply(kind, chosen)).items():
                outcomes[kind, id] = outcome
        return [outcomes[record.kind, record.id].error or record for record in stored]

    async def find(self, recall: Recall) -> list[Found]:
        if recall.mode == "semantic":
            return await self._search(recall, by_words=False)
        if recall.mode == "keyword" and self._store.driver.capabilities.keyword:
            return await self._search(recall, by_words=True)
        memories = [memory async for memory in self._all(recall.kind, _filter(recall))]
        if recall.mode == "keyword":
            hits = best_by_words(memories, recall.query, recall.top_k)
            return [Found(_record(recall.kind, memory), score) for memory, score in hits]
        newest = heapq.nlargest(recall.top_k, memories, key=lambda m: (m.created_at, m.id))
        return [Found(_record(recall.kind, memory)) for memory in newest]

    async def remove(self, memory_id: str, user_id: str | None) -> bool:
        scope = self._scope("memories")
        held = await self._store.call(scope, lambda driver: driver.get(scope, [memory_id]))
        memory = held.get(memory_id)
        if memory is None or user_id not in (None, memory.user_id):
            return False
        delete = Delete(memory_id, max(self._version(), memory.version + 1))
        outcomes = await self._store.call(scope, lambda driver: driver.apply(scope, [delete]))
        if (error := outcomes[memory_id].error) is not None:
            raise error
        return True

    async def page(self, kind: Kind, after: str | None, limit: int) -> list[Record]:
        return [_record(kind, memory) for memory in await self._page(kind, None, after, limit)]

    async def _apply(self, kind: Kind, records: Sequence[Record]) -> Mapping[str, Outcome]:
        vectors = await embed(self._model_at_work, [record.content for record in records])
        pairs = list(zip(records, vectors, strict=True))
        outcomes = dict(await self._write(kind, pairs))
        beaten = [pair for pair in pairs if outcomes[pair[0].id].status == "stale"]
        if beaten:
            await self._catch_up(kind, [record.id for record, _ in beaten])
            outcomes |= await self._write(kind, beaten)
        return outcomes

    async def _write(
        self, kind: Kind, pairs: Sequence[tuple[Record, bytes]]
    ) -> Mapping[str, Outcome]:
        scope = self._scope(kind)
        ops = [Upsert(_memory(record, self._version()), vector) for record, vector in pairs]
        return await self._store.call(scope, lambda driver: driver.apply(scope, ops))

    async def _catch_up(self, kind: Kind, ids: Sequence[str]) -> None:
        """Another process's clock is ahead of ours: what is written last has to win all the same."""
        scope = self._scope(kind)
        held = await self._store.call(scope, lambda driver: driver.get(scope, ids))
        self._last = max([self._last, *(memory.version for memory in held.values())])

    async def _search(self, recall: Recall, *, by_words: bool) -> list[Found]:
        scope = self._scope(recall.kind)
        vectors = [] if by_words else await embed(self._model_at_work, [recall.query])
        query = Query(
            mode="keyword" if by_words else "semantic",
            top_k=recall.top_k,
            now=now_us(),
            vector=vectors[0] if vectors else None,
            text=recall.query if by_words else None,
            filter=_filter(recall),
        )
        hits: Sequence[Hit] = await self._store.call(
            scope, lambda driver: driver.search(scope, query)
        )
        return [Found(_record(recall.kind, hit.memory), hit.score) for hit in hits]

    async def _all(self, kind: Kind, filter: Filter | None) -> AsyncIterator[Memory]:
        after: str | None = None
        while page := await self._page(kind, filter, after, PAGE):
            for memory in page:
                yield memory
            after = page[-1].id

    async def _page(
        self, kind: Kind, filter: Filter | None, after: str | None, limit: int
    ) -> Sequence[Memory]:
        scope = self._scope(kind)
        return await self._store.call(
            scope, lambda driver: driver.find(scope, filter, after=after, limit=limit)
        )

    def _scope(self, kind: Kind) -> Scope:
        return Scope(namespace=NAMESPACE, source=kind, space=self._model_at_work.space)

    def _version(self) -> int:
        """Later than any before it; all on one loop."""
        self._last = max(self._last + 1, now_us())
        return self._last

    @property
    def _model_at_work(self) -> Embedder:
        assert self._embedder is not None, "the room opens it"
        return self._embedder


def _filter(recall: Recall) -> Filter | None:
    raw: dict[str, Any] = {}
    if recall.user_id is not None:
        raw["user_id"] = recall.user_id
    if recall.conversation_id is not None:
        raw["session_id"] = recall.conversation_id
    if recall.category is not None:
        raw["metadata.category"] = recall.category
    if recall.exclude_tags:
        raw["tags"] = {"$nin": list(recall.exclude_tags)}
    return parse_filter(raw, {}) if raw else None


def _memory(record: Record, version: int) -> Memory:
    return Memory(
        id=record.id,
        text=record.content,
        user_id=record.user_id,
        session_id=record.conversation_id,
        source=record.kind,
        tags=record.tags,
        metadata=record.whole_metadata,
        created_at=record.created_at,
        version=version,
    )


def _record(kind: Kind, memory: Memory) -> Record:
    return from_stored(
        kind,
        id=memory.id,
        content=memory.text,
        user_id=memory.user_id,
        conversation_id=memory.session_id,
        tags=memory.tags,
        metadata=memory.metadata,
        created_at=memory.created_at,
    )
