"""``MemoryVectorDatabase`` over a memrelay service: agent-memory-server embeds, memrelay stores and finds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import batched
from typing import Any

from agent_memory_server.memory_vector_db import MemoryVectorDatabase
from agent_memory_server.models import (
    MemoryRecord,
    MemoryRecordResult,
    MemoryRecordResults,
    SearchModeEnum,
    SearchScoreTypeEnum,
)

from memrelay.client import Accepted, AsyncMemrelay, Hit, SearchAnswer, StoredMemory
from memrelay.compat.agent_memory_server.filters import FIELDS, Condition, translated
from memrelay.compat.agent_memory_server.records import memory_of, record_of
from memrelay.compat.stored import check_stored
from memrelay.errors import ConfigError, InvalidRequest

log = logging.getLogger("memrelay.compat.agent_memory_server")

WAIT_SECONDS = 30.0
"""How long a write may take to be in the source's primary driver."""
DEEPEST = 200
"""Hits that memrelay ranks at most; what a search wants beyond them is not there."""
ADDED_AT_ONCE = 32
"""So many memories with vectors of 4,096 dimensions fit in one request."""
IDS_AT_ONCE = 1000
PAGE = 512


class MemrelayMemoryVectorDatabase(MemoryVectorDatabase):  # type: ignore[misc]
    """Long-term memory in one source of memrelay, whose vectors are made by ``embeddings``.

    What it has added is found at once: writes return when the source's primary driver holds them.
    Everything raises memrelay's errors; ``Unavailable`` when the service cannot be had.
    """

    def __init__(
        self, embeddings: Any, connect: Callable[[], AsyncMemrelay], *, source: str
    ) -> None:
        self.embeddings = embeddings
        self.source = source
        self._connect = connect
        self._clients: dict[asyncio.AbstractEventLoop, AsyncMemrelay] = {}

    async def add_memories(self, memories: list[MemoryRecord]) -> list[str]:
        """Store the records, each under its id, which replaces what was there; their ids in order."""
        for record in memories:
            if not record.memory_hash:
                record.memory_hash = self.generate_memory_hash(record)
        for part in batched(memories, ADDED_AT_ONCE):
            vectors = await self.embeddings.aembed_documents([record.text for record in part])
            added = [memory_of(*pair) for pair in zip(part, vectors, strict=True)]
            await self._stored(
                self._client.add(added, source=self.source, wait=WAIT_SECONDS), len(vectors[0])
            )
        return [record.id for record in memories]

    async def update_memories(self, memories: list[MemoryRecord]) -> int:
        """``add_memories``; how many they were."""
        return len(await self.add_memories(memories))

    async def delete_memories(self, memory_ids: list[str]) -> int:
        """Delete for good; how many of them were there."""
        deleted = 0
        for ids in batched(dict.fromkeys(memory_ids), IDS_AT_ONCE):
            there = await self._client.count(filter={"id": {"$in": ids}}, source=self.source)
            await self._stored(self._client.delete_many(ids, source=self.source, wait=WAIT_SECONDS))
            deleted += there.count
        return deleted

    async def count_memories(
        self,
        namespace: str | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
    ) -> int:
        """How many records have exactly what is given; ``ValueError`` for an empty string."""
        given = {"namespace": namespace, "user_id": user_id, "session_id": session_id}
        wanted = {FIELDS[name].path: value for name, value in given.items() if value is not None}
        if "" in wanted.values():
            raise ValueError("an empty value selects nothing")
        return (await self._client.count(filter=wanted or None, source=self.source)).count

    async def list_memories(
        self, *, limit: int = 10, offset: int = 0, **filters: Any
    ) -> MemoryRecordResults:
        """Records that pass all ``filters``, in the order of their ids. ``total`` is of those read."""
        wanted = _condition(filters)
        rows: list[StoredMemory] = []
        cursor: str | None = None
        while (missing := offset + limit + 1 - len(rows)) > 0:
            page = await self._client.list_memories(
                filter=wanted, source=self.source, cursor=cursor, limit=min(missing, PAGE)
            )
            rows += page.memories
            cursor = page.cursor
            if cursor is None:
                break
        return _page([record_of(row) for row in rows], limit, offset)

    async def search_memories(
        self,
        query: str,
        search_mode: SearchModeEnum = SearchModeEnum.SEMANTIC,
        hybrid_alpha: float = 0.7,
        text_scorer: str = "BM25STD",
        *,
        distance_threshold: float | None = None,
        server_side_recency: bool | None = None,
        recency_params: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        **filters: Any,
    ) -> MemoryRecordResults:
        """The best records for ``query`` that pass all ``filters``; ``total`` is of those read, at most 200.

        ``hybrid_alpha`` is what vectors count; ``text_scorer`` is Redis's and not used, drivers score by
        BM25. Recency reorders the records up to ``offset + limit``.
        """
        if distance_threshold is not None and search_mode != SearchModeEnum.SEMANTIC:
            raise ValueError("distance_threshold is only supported for semantic search mode")
        if offset + limit > DEEPEST:
            log.warning("a search goes to %d, %d are ranked", offset + limit, DEEPEST)
        asked: dict[str, Any] = {"mode": search_mode.value, "filter": _condition(filters)}
        if search_mode == SearchModeEnum.HYBRID:
            asked["vector_weight"] = hybrid_alpha
        if distance_threshold is not None:
            asked["min_score"] = min(1.0, max(-1.0, 1.0 - distance_threshold))
        answer = await self._search(query, **asked, top_k=min(offset + limit + 1, DEEPEST))
        records = _ranked(answer)
        if server_side_recency:
            best = records[: offset + limit]
            reranked = self._apply_client_side_recency_reranking(best, recency_params)
            records[: len(best)] = reranked
        return _page(records, limit, offset)

    async def close(self) -> None:
        """Give back the connections of the running loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    @property
    def _client(self) -> AsyncMemrelay:
        """That of the running loop: agent-memory-server's database is one for all loops of its process."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            living = {at: client for at, client in self._clients.items() if not at.is_closed()}
            self._clients = living | {loop: self._connect()}
        return self._clients[loop]

    async def _search(self, query: str, **asked: Any) -> SearchAnswer:
        given: dict[str, Any] = {} if asked["mode"] == "semantic" else {"query": query}
        if asked["mode"] != "keyword":
            given["vector"] = await self.embeddings.aembed_query(query)
        search = self._client.search(**given, source=self.source, **asked)
        return await self._fitting(search, len(given.get("vector", ())))

    async def _stored(self, write: Awaitable[Accepted], dimensions: int = 0) -> None:
        """Returns when the primary driver has all of it."""
        accepted = await self._fitting(write, dimensions)
        check_stored(accepted.job, waited=WAIT_SECONDS)

    async def _fitting[R](self, call: Awaitable[R], dimensions: int) -> R:
        """The answer; ``ConfigError`` if the source does not take vectors of these dimensions."""
        try:
            return await call
        except InvalidRequest as error:
            if any(pointer.endswith("/vector") for pointer, _ in error.errors):
                raise ConfigError(
                    f"memrelay's source {self.source!r} does not take vectors of {dimensions} "
                    f'dimensions ({error}): MEMRELAY_SOURCE must name one with embedding = "external" '
                    f"and dimensions = {dimensions}"
                ) from error
            raise


def _condition(filters: Mapping[str, Any]) -> Condition | None:
    unknown = filters.keys() - FIELDS.keys()
    if unknown:
        raise TypeError(f"unknown filters: {', '.join(sorted(unknown))}")
    return translated(filters)


def _ranked(answer: SearchAnswer) -> list[MemoryRecordResult]:
    """Hits with scores from 0 to 1 and distances, as agent-memory-server has them in each mode."""
    kind = SearchScoreTypeEnum(answer.mode)
    if kind == SearchScoreTypeEnum.SEMANTIC:
        return [
            _hit(hit, max(0.0, 1.0 - hit.score), max(0.0, hit.score), kind) for hit in answer.hits
        ]
    best = max((hit.score for hit in answer.hits), default=0.0)
    scores = [max(0.0, hit.score / best) if best > 0 else 0.0 for hit in answer.hits]
    return [
        _hit(hit, 1.0 - score, score, kind) for hit, score in zip(answer.hits, scores, strict=True)
    ]


def _hit(hit: Hit, dist: float, score: float, kind: SearchScoreTypeEnum) -> MemoryRecordResult:
    return record_of(hit, dist=dist, score=min(1.0, score), score_type=kind)


def _page(rows: Sequence[MemoryRecordResult], limit: int, offset: int) -> MemoryRecordResults:
    """``limit`` of the rows from ``offset`` on; there is a next page if there are more rows."""
    end = offset + limit
    return MemoryRecordResults(
        memories=list(rows[offset:end]),
        total=len(rows[:end]),
        next_offset=end if len(rows) > end else None,
    )
