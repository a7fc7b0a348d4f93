"""The driver: what a store cannot do by itself is done here, on all of the scope's records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from backends.custom.embeddings import GivenEmbeddings
from backends.custom.factory import Factory
from backends.custom.probe import probe
from backends.custom.records import Held, rank_of
from backends.custom.store import Records
from memrelay.driver import Capabilities, Query
from memrelay.errors import Permanent, Unsupported
from memrelay.filters import Filter, matches, required_values
from memrelay.types import (
    STALE,
    Delete,
    Entry,
    Hit,
    Memory,
    Op,
    Outcome,
    Page,
    Scope,
    Upsert,
)

GROWTH = 4


class CustomDriver:
    """Memories in a stranger's ``MemoryVectorDatabase``, whose six methods are all there is.

    A search is as good as the store's own: hits are scored here, from the vectors that came with them,
    but what the store does not find is not found. Reads by anything but ids go through all of a scope.
    """

    def __init__(self, name: str, factory: Factory) -> None:
        self.name = name
        self.capabilities = Capabilities(atomic_versions=False, survives_kill=False)
        self._factory = factory
        self._opened: Records | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Calls the factory; ``ConfigError`` if what it makes is no store."""
        if self._opened is None:
            embeddings = GivenEmbeddings()
            self._opened = Records(self.name, self._factory.make(embeddings), embeddings)

    async def close(self) -> None:
        """The interface has no way to close a store: it is let go of."""
        self._opened = None

    async def ping(self) -> None:
        await self._store.ping()

    async def ensure(self, scope: Scope) -> None:
        """A store makes what it needs itself; ``ConfigError`` for one that does not keep its interface."""
        async with self._writing:
            await probe(self._store, scope, self._factory.where)

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        """One call at a time here; between processes the journal's lock sees to it."""
        async with self._writing:
            there = await self._store.held(scope, [op.id for op in ops])
            outcomes: dict[str, Outcome] = {}
            for known in (True, False):
                asked = [op for op in ops if (op.id in there) == known]
                stale = {op.id for op in asked if known and there[op.id].rank > rank_of(op)}
                outcomes |= dict.fromkeys(stale, STALE)
                due = [op for op in asked if op.id not in stale]
                outcomes |= await self._store.put(scope, due, known=known)
            return outcomes

    async def get(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
        held = await self._store.held(scope, ids)
        return {op.id: op.memory for op in _upserts(held.values())}

    async def search(self, scope: Scope, query: Query) -> Sequence[Hit]:
        if query.mode != "semantic" or query.vector is None:
            raise Unsupported(f"{self.name} searches by vectors only")
        users = required_values(query.filter, "user_id")
        user = next(iter(users)) if users is not None and len(users) == 1 else None
        limit = query.top_k + 8
        while True:
            found = await self._store.nearest(scope, query.vector, user=user, limit=limit)
            scored = _scored([one for one in found if one is not None], query.vector)
            hits = _best(scored, query)
            # A store breaks ties as it likes: go on until nothing unseen can be as near as the last.
            floor = min((hit.score for hit in scored), default=1.0)
            ended = len(hits) == query.top_k and floor < hits[-1].score
            if ended or len(found) < limit:
                return hits if query.include_vector else [Hit(h.memory, h.score) for h in hits]
            limit *= GROWTH

    async def scan(
        self, scope: Scope, *, since: int = 0, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        held = [one for one in await self._store.all(scope) if one.version >= since]
        held.sort(key=lambda one: (one.version, one.id))
        if cursor is not None:
            version, _, id = cursor.partition(":")
            held = [one for one in held if (one.version, one.id) > (int(version), id)]
        page = held[:limit]
        entries = [Entry(one.id, one.version, one.digest) for one in page]
        return Page(entries, f"{page[-1].version}:{page[-1].id}" if len(held) > limit else None)

    async def records(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
        held = await self._store.held(scope, ids)
        return {id: one.op for id, one in held.items() if one.op is not None}

    async def find(
        self, scope: Scope, filter: Filter | None, *, after: str | None = None, limit: int = 512
    ) -> Sequence[Memory]:
        found = [
            memory
            for memory in await self._memories(scope)
            if (after is None or memory.id > after) and matches(filter, memory)
        ]
        return sorted(found, key=lambda memory: memory.id)[:limit]

    async def expired(self, scope: Scope, *, now: int, limit: int = 512) -> Sequence[Delete]:
        memories = [memory for memory in await self._memories(scope) if memory.expired(now)]
        return [Delete(memory.id, memory.version) for memory in memories[:limit]]

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        held = await self._store.all(scope)
        dead = [one.id for one in held if one.digest is None and one.version < before]
        return await self._store.remove(scope, dead[:limit])

    async def count(self, scope: Scope, filter: Filter | None, *, now: int) -> int:
        memories = await self._memories(scope)
        return sum(matches(filter, memory) and not memory.expired(now) for memory in memories)

    async def purge(self, scope: Scope) -> None:
        await self._store.remove(scope, [one.id for one in await self._store.all(scope)])

    @property
    def _store(self) -> Records:
        if self._opened is None:
            raise Permanent(f"{self.name} is not open")
        return self._opened

    async def _memories(self, scope: Scope) -> list[Memory]:
        return [op.memory for op in _upserts(await self._store.all(scope, dead=False))]


def _upserts(held: Iterable[Held]) -> Iterator[Upsert]:
    """Of the live records that can be read."""
    return (one.op for one in held if isinstance(one.op, Upsert))


def _scored(found: Sequence[Held], vector: bytes) -> list[Hit]:
    """Each with the cosine of its vector and ``vector``."""
    ops = list(_upserts(found))
    if not ops:
        return []
    axis = np.frombuffer(vector, "<f4").astype(np.float64)
    rows = np.frombuffer(b"".join(op.vector for op in ops), "<f4").reshape(len(ops), -1)
    rows = rows.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(axis)
    cosines = np.clip(rows @ axis / lengths, -1.0, 1.0)
    return [Hit(op.memory, float(c), op.vector) for op, c in zip(ops, cosines, strict=True)]


def _best(scored: Iterable[Hit], query: Query) -> list[Hit]:
    hits = [
        hit
        for hit in scored
        if (query.min_score is None or hit.score >= query.min_score)
        and not hit.memory.expired(query.now)
        and matches(query.filter, hit.memory)
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.memory.id))
    return hits[: query.top_k]
