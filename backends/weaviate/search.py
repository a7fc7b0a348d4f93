"""Semantic and keyword search: ranked by Weaviate, filtered exactly here, continued until it is enough.

But where a filter leaves few memories of many their vectors are compared here. Weaviate's index would go
through those of the whole tenant, from the first to the last object that passes: of a million memories 100
were found in 170 ms so.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched
from typing import Any

from weaviate.classes.query import Filter as Where
from weaviate.classes.query import MetadataQuery
from weaviate.collections.classes.filters import FilterReturn
from weaviate.collections.classes.internal import Object

from backends.weaviate.conditions import live
from backends.weaviate.connection import Collection, Connection
from backends.weaviate.errors import TooLarge
from backends.weaviate.objects import (
    OID,
    RECORD,
    SCALE,
    TEXT,
    UUID,
    VERSION,
    row_of,
    to_memory,
    to_vector,
    vector_of,
)
from backends.weaviate.reads import RECORDS_AT_ONCE
from backends.weaviate.sizes import Sizes
from backends.weaviate.walk import DEEPEST, Walk
from memrelay.cosine import Cosine
from memrelay.driver import Query
from memrelay.errors import Permanent
from memrelay.filters import matches
from memrelay.types import Hit, Scope, vector_from_bytes

Found = Object[Any, Any]
Hits = dict[str, Hit]
"""By id of the memory."""

WHOLE = [RECORD, VERSION, SCALE]
GROWTH = 4
FEW, PART, NUMBERS = 100, 500, 256_000
"""So many memories are few, and one more for each ``PART`` of their tenant, while their vectors have no more
than ``NUMBERS``: to read a hundred takes less than any search by the index, which reads some 500 vectors in
the time of one memory."""
SPARE = 8
"""Hits fetched beyond ``top_k`` at first: one with a lower score shows that no tie is cut."""


class Search:
    """One query of one scope."""

    def __init__(self, connection: Connection, sizes: Sizes, scope: Scope, query: Query) -> None:
        if query.mode == "semantic" and len(query.vector or b"") != 4 * scope.space.dimensions:
            size = len(query.vector or b"")
            raise Permanent(f"a query vector of {size} bytes", code="dimension")
        self._connection = connection
        self._sizes = sizes
        self._collection: Collection = connection.collection(scope)
        self._scope = scope
        self._query = query
        self._where, _ = live(scope, query.filter, query.now)

    async def run(self) -> Sequence[Hit]:
        hits = await self._few()
        if hits is None:
            hits = await self._rank(self._where)
        return _best(await self._deep() if hits is None else hits, self._query)

    async def _few(self) -> Hits | None:
        """The best by their vectors; None where these may be many, and in keyword searches."""
        if self._query.mode != "semantic" or self._query.filter is None:
            return None
        most = NUMBERS // self._scope.space.dimensions
        few = min(most, FEW + await self._sizes.of(self._scope) // PART)
        if await self._are_more(few):
            return None
        found = await self._read(self._where, few + 1, [OID])
        return await self._nearest(found) if len(found) <= few else None  # written meanwhile

    async def _are_more(self, few: int) -> bool:
        """Whether more than ``few`` may match. A count reads each one, be they half of the tenant."""
        read = self._collection.query.fetch_objects(
            filters=self._where, offset=few, limit=1, return_properties=[]
        )
        return bool((await self._connection.call(read)).objects)

    async def _nearest(self, found: Sequence[Found]) -> Hits:
        """Of all that may match, as far as it is asked for: records can be far larger than vectors."""
        floor, cosine = self._query.min_score, Cosine(self._query.vector or b"")
        scored = sorted(
            (-cosine(vector), str(object.properties[OID]), object.uuid)
            for object in found
            if (vector := vector_of(object))
        )
        hits: Hits = {}
        for part in batched(scored, min(self._query.top_k + SPARE, RECORDS_AT_ONCE)):
            if floor is not None and -part[0][0] < floor:
                break
            where = self._among([key for _, _, key in part])
            objects = await self._read(where, len(part), WHOLE)
            hits |= self._matching(
                (object, cosine(vector)) for object in objects if (vector := vector_of(object))
            )
            if len(hits) >= self._query.top_k:
                break
        return hits

    async def _read(
        self, where: FilterReturn, limit: int, properties: list[str]
    ) -> Sequence[Found]:
        """With their vectors, in no order."""
        read = self._collection.query.fetch_objects(
            filters=where, limit=limit, include_vector=True, return_properties=properties
        )
        return (await self._connection.call(read)).objects

    async def _rank(self, where: FilterReturn) -> Hits | None:
        """The matching hits down to where more cannot matter; None if Weaviate stops before that.

        A longer answer starts again from the top: Weaviate orders ties differently for each length. A short
        answer is followed by the longest, since an index may know more objects than there are.
        """
        limit = min(self._query.top_k + SPARE, DEEPEST)
        while True:
            try:
                found = await self._fetch(where, limit)
            except TooLarge:
                return None
            hits = self._matching(_scored(found))
            if found and self._settled(hits, _score(found[-1])):
                return hits
            if limit == DEEPEST:
                return hits if len(found) < limit else None
            limit = DEEPEST if len(found) < limit else min(limit * GROWTH, DEEPEST)

    async def _deep(self) -> Hits:
        """All hits, however many: what the filter lets through is read first, then ranked by its ids."""
        walk = Walk(self._connection, self._collection, self._where, [RECORD])
        hits: Hits = {}
        async for rows in walk.pages(RECORDS_AT_ONCE):
            uuids = [
                row[UUID]
                for row in rows
                if (memory := to_memory(self._scope, row)) and matches(self._query.filter, memory)
            ]
            if uuids:
                found = await self._fetch(self._among(uuids), len(uuids))
                best = _best(hits | self._matching(_scored(found)), self._query)
                hits = {hit.memory.id: hit for hit in best}
        return hits

    def _among(self, uuids: Sequence[uuid.UUID]) -> FilterReturn:
        return self._where & Where.by_id().contains_any(uuids)

    def _matching(self, found: Iterable[tuple[Found, float]]) -> Hits:
        hits: Hits = {}
        with_vectors = self._query.include_vector
        for object, score in found:
            memory = to_memory(self._scope, row_of(object))
            if memory is not None and matches(self._query.filter, memory):
                hits[memory.id] = Hit(memory, score, _vector(object) if with_vectors else None)
        return hits

    def _settled(self, hits: Hits, last: float) -> bool:
        """Whether hits with scores of ``last`` and less can be left out."""
        floor = self._query.min_score
        if floor is not None and last < floor:
            return True
        best = _best(hits, self._query)
        return len(best) == self._query.top_k and last < best[-1].score

    async def _fetch(self, where: FilterReturn, limit: int) -> Sequence[Found]:
        query = self._query
        if query.mode == "semantic":
            near = self._collection.query.near_vector(
                vector_from_bytes(query.vector or b""),
                filters=where,
                limit=limit,
                include_vector=query.include_vector,
                return_metadata=MetadataQuery(distance=True),
                return_properties=WHOLE,
            )
            return (await self._connection.call(near)).objects
        words = self._collection.query.bm25(
            query.text or "",
            query_properties=[TEXT],
            filters=where,
            limit=limit,
            include_vector=query.include_vector,
            return_metadata=MetadataQuery(score=True),
            return_properties=WHOLE,
        )
        return (await self._connection.call(words)).objects


def _best(hits: Hits, query: Query) -> list[Hit]:
    floor = query.min_score
    kept = [hit for hit in hits.values() if floor is None or hit.score >= floor]
    kept.sort(key=lambda hit: (-hit.score, hit.memory.id))
    return kept[: query.top_k]


def _scored(found: Sequence[Found]) -> Iterator[tuple[Found, float]]:
    return ((object, _score(object)) for object in found)


def _score(object: Found) -> float:
    """The cosine, or the keyword score."""
    distance, score = object.metadata.distance, object.metadata.score
    if distance is None:
        return score or 0.0
    return max(-1.0, min(1.0, 1 - distance))


def _vector(object: Found) -> bytes | None:
    vector = vector_of(object)
    return None if vector is None else to_vector(object.properties, vector)
