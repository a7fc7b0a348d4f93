"""The store's six methods as what the driver needs of them. Answers are taken for hints, and checked.

A store may ignore a filter, return None for a number (as the seed document does) or know a record under
no id but its own: nothing here depends on more than the records that come back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from itertools import batched
from typing import Any

from agent_memory_server.filters import Id, Namespace, UserId
from agent_memory_server.memory_vector_db import MemoryVectorDatabase
from agent_memory_server.models import MemoryRecord

from backends.custom.embeddings import QUERY, GivenEmbeddings
from backends.custom.errors import translated
from backends.custom.records import Held, Write, held_of, key_of, place_of, write_of
from memrelay.errors import Permanent
from memrelay.types import APPLIED, Op, Outcome, Scope, failed

PAGE = 500
_PLAIN = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
"""Users whom any store's filter language takes for what they are."""
LOOKUPS = 16
"""Records that are looked up at a time, each by itself: agent-memory-server never asks for several."""


class Records:
    """All that one store holds for us."""

    def __init__(self, name: str, store: MemoryVectorDatabase, embeddings: GivenEmbeddings) -> None:
        self._name = name
        self._store = store
        self._embeddings = embeddings

    async def ping(self) -> None:
        await self._said(self._store.list_memories(limit=1))

    async def held(self, scope: Scope, ids: Iterable[str]) -> dict[str, Held]:
        """What there is of ``ids``, tombstones and damaged records too."""
        found: dict[str, Held] = {}
        for some in batched(dict.fromkeys(ids), LOOKUPS):
            answers = await asyncio.gather(*(self._one(scope, id) for id in some))
            found |= {held.id: held for held in answers if held is not None}
        return found

    async def all(self, scope: Scope, *, dead: bool = True) -> list[Held]:
        """Everything of a scope, each id once; without tombstones unless ``dead``."""
        places = [place_of(scope, live=True)]
        if dead:
            places.append(place_of(scope, live=False))
        found: dict[str, Held] = {}
        for place in places:
            async for record in self._listed(place):
                held = held_of(record, scope)
                if held is not None and (dead or held.digest is not None):
                    found[held.id] = held
        return list(found.values())

    async def put(self, scope: Scope, ops: Sequence[Op], *, known: bool) -> dict[str, Outcome]:
        """Write ops that are due; ``known`` says that a record of each id is there."""
        outcomes: dict[str, Outcome] = {}
        writes: list[Write] = []
        for op in ops:
            try:
                writes.append(write_of(op, scope))
            except Permanent as error:
                outcomes[op.id] = failed(error)
        for group in _without_repeats(writes):
            outcomes |= await self._put(group, known=known)
        return outcomes

    async def remove(self, scope: Scope, ids: Sequence[str]) -> int:
        """Remove records for good; how many ``ids`` there were."""
        for some in batched(ids, PAGE):
            await self._said(self._store.delete_memories([key_of(scope, id) for id in some]))
        return len(ids)

    async def nearest(
        self, scope: Scope, vector: bytes, *, user: str | None, limit: int
    ) -> list[Held | None]:
        """The store's own search among live records; None for what is not ours.

        ``user`` is what it may be limited to, and is where a store's own filter cannot get it wrong.
        """
        wanted: dict[str, Any] = {"namespace": Namespace(eq=place_of(scope, live=True))}
        if user is not None and _PLAIN.fullmatch(user):
            wanted["user_id"] = UserId(eq=user)
        with self._embeddings.giving({QUERY: vector}):
            found = await self._said(
                self._store.search_memories(query=QUERY, limit=limit, **wanted)
            )
        return [held_of(record, scope) for record in found.memories]

    async def _one(self, scope: Scope, id: str) -> Held | None:
        key = key_of(scope, id)
        found = await self._said(self._store.list_memories(id=Id(eq=key), limit=1))
        held = [held_of(record, scope) for record in found.memories if record.id == key]
        return held[0] if held else None

    async def _listed(self, place: str) -> AsyncIterator[MemoryRecord]:
        offset = 0
        while True:
            found = await self._said(
                self._store.list_memories(namespace=Namespace(eq=place), limit=PAGE, offset=offset)
            )
            for record in found.memories:
                yield record
            if len(found.memories) < PAGE:
                return
            offset += PAGE

    async def _put(self, writes: Sequence[Write], *, known: bool) -> dict[str, Outcome]:
        """What is refused for good is tried one by one, so that one bad memory fails alone."""
        vectors = {write.record.text: write.vector for write in writes}
        records = [write.record for write in writes]
        put = self._store.update_memories if known else self._store.add_memories
        try:
            with self._embeddings.giving(vectors):
                await self._said(put(records))
        except Permanent as error:
            if len(writes) == 1:
                return {writes[0].id: failed(error)}
            alone = [await self._put([write], known=known) for write in writes]
            return {id: outcome for each in alone for id, outcome in each.items()}
        return {write.id: APPLIED for write in writes}

    async def _said[T](self, answer: Awaitable[T]) -> T:
        with translated(self._name):
            return await answer


def _without_repeats(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """Groups in which no text comes twice: its text is all that a record's vector is asked for by."""
    left = list(writes)
    while left:
        group = {write.record.text: write for write in reversed(left)}
        yield list(group.values())
        taken = {write.id for write in group.values()}
        left = [write for write in left if write.id not in taken]
