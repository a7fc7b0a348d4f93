"""``relay``: through a running memrelay service, with the SDK alone."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from memrelay.client import Accepted, AsyncMemrelay, Hit, NewMemory, StoredMemory
from memrelay.client.http import place_of
from memrelay.compat.memory_driver.record import Found, Kind, Recall, Record, from_stored
from memrelay.compat.memory_driver.settings import Settings
from memrelay.compat.memory_driver.shelved import ShelfDriver
from memrelay.errors import InvalidInput, MemrelayError, NotFound, Permanent, Unavailable
from memrelay.times import format_time, parse_time

EVERYBODY = "memory-driver:global-knowledge"
"""The user to whom documents belong: nobody else's searches come near them, and theirs are exact."""
WAIT_SECONDS = 30.0
PAGE = 512


class RelayDriver(ShelfDriver):
    """``MEMRELAY_URL``, ``MEMRELAY_API_KEY`` and ``MEMRELAY_SOURCE`` say where."""

    def __init__(self) -> None:
        super().__init__("relay", lambda: RelayShelf(Settings().MEMRELAY_SOURCE))


class RelayShelf:
    """One source of a service. ``put`` returns when its primary driver holds what was put."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._client: AsyncMemrelay | None = None
        self._cursors: dict[tuple[Kind, str], str] = {}
        """Where the page after the last one begins: by a filter on ids a store would walk there anew."""

    async def open(self) -> None:
        self._client = AsyncMemrelay()

    async def close(self) -> None:
        await self._relay.close()

    async def check(self) -> dict[str, Any]:
        """``Unavailable`` unless it accepts and searches."""
        ready = await self._relay.ready()
        if not (ready.accept and ready.search):
            raise Unavailable(
                f"memrelay at {place_of(self._relay.url)} is not ready: {ready.drivers}"
            )
        return {"url": self._relay.url, "drivers": ready.drivers}

    async def put(self, records: Sequence[Record]) -> list[Record | MemrelayError]:
        if any(record.user_id == EVERYBODY for record in records):
            raise InvalidInput(f"no user may be called {EVERYBODY}")
        accepted = await self._relay.add(
            [_sent(record) for record in records], source=self._source, wait=WAIT_SECONDS
        )
        refused = await self._refused(accepted)
        return [
            refused.get(write.id) or replace(record, id=write.id)
            for record, write in zip(records, accepted.memories, strict=True)
        ]

    async def _refused(self, accepted: Accepted) -> dict[str, MemrelayError]:
        """What the primary does not take, by id. A job lists the first errors only: the rest is looked up."""
        job = accepted.job
        if job.primary.failed == 0:
            return {}
        primary = next(iter(job.counts))
        refused: dict[str, MemrelayError] = {
            error.id: Permanent(error.detail, code=error.code)
            for error in job.errors
            if error.driver == primary or error.driver not in job.counts
        }
        if len(refused) < job.primary.failed:
            ids = [write.id for write in accepted.memories]
            held = [memory.id async for memory in self._all(filter={"id": {"$in": ids}})]
            for id in set(ids) - set(held) - set(refused):
                refused[id] = Permanent(f"refused, see job {job.id}", code="refused")
        return refused

    async def find(self, recall: Recall) -> list[Found]:
        if recall.user_id == EVERYBODY:
            return []
        if recall.mode == "recent":
            memories = [memory async for memory in self._all(**_selection(recall))]
            newest = heapq.nlargest(recall.top_k, memories, key=lambda m: (m.created_at, m.id))
            return [Found(_record(recall.kind, memory)) for memory in newest]
        answer = await self._relay.search(
            recall.query,
            source=self._source,
            top_k=recall.top_k,
            mode="keyword" if recall.mode == "keyword" else None,
            **_selection(recall),
        )
        return [_found(recall.kind, hit) for hit in answer.hits]

    async def remove(self, memory_id: str, user_id: str | None) -> bool:
        try:
            memory = await self._relay.get(memory_id, source=self._source)
        except NotFound:
            return False
        if memory.user_id in (None, EVERYBODY) or user_id not in (None, memory.user_id):
            return False
        await self._relay.delete(memory_id, source=self._source, wait=WAIT_SECONDS)
        return True

    async def page(self, kind: Kind, after: str | None, limit: int) -> list[Record]:
        """What has no user was not stored by a memory driver: it is neither a memory nor a document."""
        owner: dict[str, Any] = {"$eq": EVERYBODY}
        if kind == "memories":
            owner = {"$ne": EVERYBODY, "$exists": True}
        conditions: dict[str, Any] = {"user_id": owner}
        cursor = None if after is None else self._cursors.get((kind, after))
        if after is not None and cursor is None:
            conditions["id"] = {"$gt": after}
        records: list[Record] = []
        while len(records) < limit:
            found = await self._relay.list_memories(
                source=self._source,
                cursor=cursor,
                limit=min(PAGE, limit - len(records)),
                filter=conditions,
            )
            records += [_record(kind, memory) for memory in found.memories]
            cursor = found.cursor
            if cursor is None:
                return records
        assert cursor is not None
        self._cursors = {(kind, records[-1].id): cursor}
        return records

    @property
    def _relay(self) -> AsyncMemrelay:
        assert self._client is not None, "the room opens it"
        return self._client

    async def _all(self, **which: Any) -> AsyncIterator[StoredMemory]:
        cursor: str | None = None
        while True:
            page = await self._relay.list_memories(
                source=self._source, cursor=cursor, limit=PAGE, **which
            )
            for memory in page.memories:
                yield memory
            cursor = page.cursor
            if cursor is None:
                return


def _selection(recall: Recall) -> dict[str, Any]:
    filter: dict[str, Any] = {}
    if recall.exclude_tags:
        filter["tags"] = {"$nin": list(recall.exclude_tags)}
    if recall.category is not None:
        filter["metadata.category"] = recall.category
    user = recall.user_id if recall.kind == "memories" else EVERYBODY
    return {"user_id": user, "session_id": recall.conversation_id, "filter": filter or None}


def _sent(record: Record) -> NewMemory:
    sent: NewMemory = {
        "text": record.content,
        "user_id": EVERYBODY if record.kind == "global_knowledge" else str(record.user_id),
        "tags": list(record.tags),
        "metadata": record.whole_metadata,
        "created_at": format_time(record.created_at),
    }
    if record.fixed_id:
        sent["id"] = record.fixed_id
    if record.conversation_id is not None:
        sent["session_id"] = record.conversation_id
    return sent


def _found(kind: Kind, hit: Hit) -> Found:
    return Found(_record(kind, hit), hit.score)


def _record(kind: Kind, memory: StoredMemory) -> Record:
    return from_stored(
        kind,
        id=memory.id,
        content=memory.text or "",
        user_id=memory.user_id,
        conversation_id=memory.session_id,
        tags=memory.tags,
        metadata=memory.metadata or {},
        created_at=parse_time(memory.created_at.isoformat()),
    )
