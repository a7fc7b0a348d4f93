"""Semantic search: exact in every partition but the large ones of memories without a user.

Each partition gives its nearest ids in rounds that grow, by score. Records are read and filtered
from the best candidate down, until ``top_k`` pass and nothing unseen can score as high as the last.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import batched

from backends.redis.client import Client, Command
from backends.redis.keys import PartitionKeys
from backends.redis.records import decode, necessary
from memrelay.driver import Query
from memrelay.filters import matches, normalized
from memrelay.types import Hit, Memory, Scope

GRAPH_FROM = 20_000
"""A partition without a user is read by its graph above so many memories."""
LEAST_CANDIDATES = 400
"""That a graph keeps in sight: with 200, recall@10 over 23,495 texts was below 0.99."""
GROWTH = 8
MOST_RECORDS = 1024
PARTITIONS_PER_TRIP = 64


# Score, id, and the number of the partition that gave it; sorts by score.
type _Candidate = tuple[float, bytes, int]


@dataclass(slots=True)
class _Source:
    """One partition in the course of a search."""

    number: int
    keys: PartitionKeys
    count: int
    """How many of its nearest are asked for next."""
    exact: bool = True
    floor: float = math.inf
    """Nothing that it has not given yet scores higher."""
    ended: bool = False
    """It has given all."""
    seen: set[bytes] = field(default_factory=set)

    def command(self, vector: bytes) -> Command:
        how = ("TRUTH",) if self.exact else ("EF", max(LEAST_CANDIDATES, 4 * self.count))
        near = ("VSIM", self.keys.vectors, "FP32", vector, "WITHSCORES", "COUNT", self.count)
        return (*near, *how)


@dataclass(frozen=True, slots=True)
class _Found:
    memory: Memory
    score: float
    keys: PartitionKeys


class Search:
    """One search over some partitions of one scope."""

    def __init__(self, client: Client, scope: Scope, query: Query) -> None:
        self._client = client
        self._scope = scope
        self._query = query
        self._vector = query.vector or b""
        self._possible = _possible(query)
        self._sources: list[_Source] = []
        self._waiting: list[_Candidate] = []
        self._found: dict[str, _Found] = {}
        self._bar = -math.inf if query.min_score is None else query.min_score
        self._page = query.top_k + 8

    async def run(self, partitions: Sequence[PartitionKeys]) -> list[Hit]:
        count = 2 * self._query.top_k + 16
        self._sources = [_Source(at, keys, count) for at, keys in enumerate(partitions)]
        await self._choose_graphs()
        while asked := [one for one in self._sources if not one.ended and one.floor >= self._bar]:
            for trip in batched(asked, PARTITIONS_PER_TRIP):
                await self._ask(trip)
            self._waiting.sort()
            while self._waiting and self._waiting[-1][0] >= self._bar:
                await self._judge(self._next_page())
        return await self._hits(self._best())

    async def _choose_graphs(self) -> None:
        shared = [source for source in self._sources if not source.keys.has_user]
        sizes = await self._client.run([("VCARD", source.keys.vectors) for source in shared])
        for source, size in zip(shared, sizes, strict=True):
            source.exact = size <= GRAPH_FROM

    async def _ask(self, sources: Sequence[_Source]) -> None:
        replies = await self._client.run([source.command(self._vector) for source in sources])
        for source, reply in zip(sources, replies, strict=True):
            near = dict(reply)  # an empty list where there is no such key
            self._waiting += [
                (_cosine(similarity), id, source.number)
                for id, similarity in near.items()
                if id not in source.seen
            ]
            source.floor = _cosine(min(near.values(), default=0.0))
            source.ended = source.exact and len(near) < source.count
            source.seen.update(near)
            # What the graph gave first is its best; whoever needs more than that gets all there is.
            source.exact = True
            source.count *= GROWTH

    def _next_page(self) -> list[_Candidate]:
        page, self._waiting = self._waiting[-self._page :], self._waiting[: -self._page]
        self._page = min(MOST_RECORDS, 4 * self._page)
        return page

    async def _judge(self, candidates: Sequence[_Candidate]) -> None:
        """Read the records of candidates, keep those that pass, raise the bar."""
        groups: dict[int, list[_Candidate]] = {}
        for candidate in candidates:
            groups.setdefault(candidate[2], []).append(candidate)
        replies = await self._client.run(
            [
                ("HMGET", self._sources[number].keys.records, *(id for _, id, _ in group))
                for number, group in groups.items()
            ]
        )
        for (number, group), records in zip(groups.items(), replies, strict=True):
            for (score, _, _), record in zip(group, records, strict=True):
                if record is not None and self._possible(record):
                    memory = decode(record, self._scope.source)
                    if memory is not None:
                        self._keep(_Found(memory, score, self._sources[number].keys))
        best = self._best()
        if len(best) == self._query.top_k:
            self._bar = best[-1].score

    def _keep(self, one: _Found) -> None:
        memory = one.memory
        if memory.expired(self._query.now) or not matches(self._query.filter, memory):
            return
        known = self._found.get(memory.id)
        # While a memory moves from one user to another, both partitions may hold it.
        if known is None or known.memory.version < memory.version:
            self._found[memory.id] = one

    def _best(self) -> list[_Found]:
        least = self._query.min_score
        found = [one for one in self._found.values() if least is None or one.score >= least]
        found.sort(key=lambda one: (-one.score, one.memory.id))
        return found[: self._query.top_k]

    async def _hits(self, best: Sequence[_Found]) -> list[Hit]:
        if not self._query.include_vector:
            return [Hit(one.memory, one.score) for one in best]
        raw = await self._client.run(
            [("VEMB", one.keys.vectors, one.memory.id, "RAW") for one in best]
        )
        return [
            Hit(one.memory, one.score, restored(reply))
            for one, reply in zip(best, raw, strict=True)
        ]


def _possible(query: Query) -> Callable[[bytes], bool]:
    if query.filter is None:
        return lambda record: True
    return necessary(normalized(query.filter))


def _cosine(similarity: float) -> float:
    """Redis answers (1 + cosine) / 2, a rounding error off at the ends."""
    return 1.0 if similarity >= 1.0 else -1.0 if similarity <= 0.0 else 2.0 * similarity - 1.0


def restored(reply: object) -> bytes | None:
    """The vector as it was given, up to float32 rounding: Redis keeps it normalized, and its norm.

    ``reply`` is that of ``VEMB … RAW``.
    """
    match reply:
        case [_, bytes(unit), float(norm)]:
            values = array("f")
            values.frombytes(unit)
            return array("f", (value * norm for value in values)).tobytes()
    return None
