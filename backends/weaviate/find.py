"""Memories that pass a filter, in the order of their ids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import batched

from weaviate.classes.query import Filter as Where
from weaviate.collections.classes.filters import FilterReturn

from backends.weaviate.conditions import live
from backends.weaviate.connection import Connection
from backends.weaviate.objects import OID, RECORD, VERSION, row_of, to_memory, to_oid
from backends.weaviate.reads import RECORDS_AT_ONCE
from backends.weaviate.walk import DEEPEST, Walk
from memrelay.filters import Filter, matches
from memrelay.types import Memory, Scope


async def find(
    connection: Connection, scope: Scope, node: Filter | None, after: str | None, limit: int
) -> Sequence[Memory]:
    """Ids first, as many at once as one sorting of Weaviate's gives; then their records, part by part.

    Time is in proportion to what Weaviate's part of the filter leaves behind ``after``.
    """
    where, exact = live(scope, node)
    walk = Walk(connection, connection.collection(scope), where, [])
    behind = "" if after is None else to_oid(after)
    found: list[Memory] = []
    while len(found) < limit:
        asked = min(limit - len(found), DEEPEST) if exact else DEEPEST
        rows = await walk.by_id(behind, asked)
        for part in batched(rows, RECORDS_AT_ONCE):
            memories = await _read(connection, scope, where, [row[OID] for row in part])
            found += [memory for memory in memories if matches(node, memory)]
            if len(found) >= limit:
                return found[:limit]
        if len(rows) < asked:
            break
        behind = rows[-1][OID]
    return found


async def _read(
    connection: Connection, scope: Scope, where: FilterReturn, oids: Sequence[str]
) -> list[Memory]:
    """By the same index as their ids came from, in the order of ids."""
    named = where & Where.by_property(OID).contains_any(oids)
    answer = await connection.call(
        connection.collection(scope).query.fetch_objects(
            filters=named, limit=2 * len(oids), return_properties=[RECORD, VERSION]
        )
    )
    memories = [to_memory(scope, row_of(object)) for object in answer.objects]
    return sorted((memory for memory in memories if memory), key=lambda memory: memory.id)
