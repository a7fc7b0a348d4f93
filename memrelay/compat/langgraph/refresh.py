"""Times to live that begin anew when an item is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched

from memrelay.client import AsyncMemrelay, AsyncSource, KeyEntry
from memrelay.compat.langgraph.records import Vector, keys_of
from memrelay.errors import Conflict
from memrelay.keyvalue import KeySpace

SPENT = 0.1
"""The part of its time that an item has had before a read begins it anew: else each read were a write."""
AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Refresh:
    """Of the items of one store. ``probe``: any vector, where the source's callers bring them."""

    client: AsyncMemrelay
    source: AsyncSource
    probe: Vector | None

    async def refresh(self, read: Sequence[KeyEntry]) -> None:
        """Begin the times of those anew that have any, under the versions that were read.

        What was written or deleted meanwhile is left as it is.
        """
        due = {entry.key: entry for entry in read if _is_due(entry)}
        texts = [key for entry in due.values() for key in keys_of(entry)[1:]]
        entries = list(due.values())
        for part in batched(texts, AT_ONCE):
            entries += (await self.source.entries(part)).values()
        for some in batched(entries, AT_ONCE):
            vectors = await self._vectors([entry.key for entry in some])
            await asyncio.gather(*(self._rewrite(one, vectors.get(one.key)) for one in some))

    async def _vectors(self, keys: Sequence[str]) -> Mapping[str, Vector | None]:
        if self.probe is None:
            return {}
        space = KeySpace(self.source.namespace or "")
        ids = {space.id_of(key): key for key in keys}
        answer = await self.client.search(
            vector=self.probe,
            user_id=space.user_id,
            filter={"id": {"$in": list(ids)}},
            include=["vector"],
            top_k=len(ids),
            source=self.source.name,
        )
        return {ids[hit.id]: hit.vector for hit in answer.hits}

    async def _rewrite(self, entry: KeyEntry, vector: Vector | None) -> None:
        if entry.ttl_ms is None or (self.probe is not None and vector is None):
            return
        with suppress(Conflict):
            await self.source.store(
                entry.key,
                entry.value,
                ttl=entry.ttl_ms / 1000,
                tags=entry.tags,
                metadata=entry.metadata,
                vector=vector,
                if_match=entry.version,
                wait=0,
            )


def _is_due(entry: KeyEntry) -> bool:
    if entry.ttl_ms is None:
        return False
    spent = (datetime.now(UTC) - entry.stored_at).total_seconds()
    return 1000 * spent >= SPENT * entry.ttl_ms
