"""Look-ups by id, scans, counts and what is expired."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import batched
from uuid import UUID

from weaviate.classes.aggregate import Metrics
from weaviate.collections.classes.aggregate import AggregateInteger

from backends.weaviate.conditions import in_source, live, overdue
from backends.weaviate.connection import Connection
from backends.weaviate.objects import (
    DELETED,
    DIGEST,
    OID,
    RECORD,
    SCALE,
    VERSION,
    Row,
    object_id,
    row_of,
    to_entry,
    to_memory,
)
from backends.weaviate.walk import Position, Walk
from memrelay.filters import Filter, matches
from memrelay.types import Delete, Memory, Page, Scope

RECORDS_AT_ONCE = 250
"""So many records of 64 KiB of text stay below the size of a gRPC message, which is 100 MB."""
ENTRIES_AT_ONCE = 5000
"""Weaviate answers no more than 10,000 objects at once."""


async def held(connection: Connection, scope: Scope, uuids: Sequence[UUID]) -> Mapping[UUID, Row]:
    """What a write must know of each object that is there, tombstones too."""
    if not uuids:
        return {}
    found = await connection.call(
        connection.collection(scope).query.fetch_objects_by_ids(
            uuids, limit=len(uuids), return_properties=[VERSION, DELETED, DIGEST, SCALE]
        )
    )
    return {object.uuid: object.properties for object in found.objects}


async def get(connection: Connection, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
    """The live memories among ``ids``."""
    collection = connection.collection(scope)

    async def read(part: Sequence[UUID]) -> list[Memory]:
        found = await connection.call(
            collection.query.fetch_objects_by_ids(
                part, limit=len(part), return_properties=[RECORD, VERSION, DELETED]
            )
        )
        rows = [row_of(object) for object in found.objects]
        memories = (to_memory(scope, row) for row in rows if not row[DELETED])
        return [memory for memory in memories if memory is not None]

    parts = batched({object_id(scope, id) for id in ids}, RECORDS_AT_ONCE)
    answers = await asyncio.gather(*(read(part) for part in parts))
    return {memory.id: memory for memories in answers for memory in memories}


async def scan(
    connection: Connection, scope: Scope, since: int, cursor: str | None, limit: int
) -> Page:
    """A page of entries in (version, id) order."""
    walk = Walk(connection, connection.collection(scope), in_source(scope), [DELETED, DIGEST])
    position = Position(since - 1) if cursor is None else Position.parse(cursor)
    rows, end = await walk.page(position, min(limit, ENTRIES_AT_ONCE))
    return Page([to_entry(row) for row in rows], None if end is None else str(end))


async def count(connection: Connection, scope: Scope, node: Filter | None, now: int) -> int:
    """Weaviate counts where it can check the whole filter; else what it lets through is read.

    Counted are values of a property: Weaviate's total may count entries of its indexes without objects.
    """
    where, exact = live(scope, node, now)
    collection = connection.collection(scope)
    if exact:
        counted = Metrics(VERSION).integer(count=True)
        answer = await connection.call(
            collection.aggregate.over_all(filters=where, return_metrics=counted)
        )
        versions = answer.properties.get(VERSION)
        return versions.count or 0 if isinstance(versions, AggregateInteger) else 0
    total = 0
    walk = Walk(connection, collection, where, [RECORD, OID])
    async for rows in walk.pages(RECORDS_AT_ONCE):
        memories = (to_memory(scope, row) for row in rows)
        total += sum(memory is not None and matches(node, memory) for memory in memories)
    return total


async def expired(connection: Connection, scope: Scope, now: int, limit: int) -> Sequence[Delete]:
    """What is expired by its record too: Weaviate's own number may have been altered."""
    walk = Walk(connection, connection.collection(scope), overdue(scope, now), [RECORD])
    deletes: list[Delete] = []
    async for rows in walk.pages(min(limit, RECORDS_AT_ONCE)):
        memories = (to_memory(scope, row) for row in rows)
        deletes += [
            Delete(memory.id, memory.version)
            for memory in memories
            if memory is not None and memory.expired(now)
        ]
        if len(deletes) >= limit:
            break
    return deletes[:limit]
