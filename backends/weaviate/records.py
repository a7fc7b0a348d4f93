"""What is held, as the ops that would write it again: of sound objects alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from itertools import batched

from backends.weaviate.conditions import indexed
from backends.weaviate.connection import Connection
from backends.weaviate.objects import (
    OID,
    RECORD,
    SCALE,
    SCALES,
    TOKENS,
    UUID,
    VERSION,
    Row,
    from_oid,
    is_listed,
    is_tombstone,
    number_fields,
    number_property,
    numbered_token,
    object_id,
    row_of,
    stored,
    to_memory,
    to_vector,
    vector_of,
)
from memrelay.errors import Permanent
from memrelay.filters import METADATA
from memrelay.types import Delete, Op, Scope, Upsert

OBJECTS_AT_ONCE = 125
"""Whole objects of 64 KiB of text, which have it twice, and vectors: they fit into a gRPC message."""


async def records(connection: Connection, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
    """The ops of what is held of ``ids``, but for damaged objects."""
    parts = batched({object_id(scope, id) for id in ids}, OBJECTS_AT_ONCE)
    answers = await asyncio.gather(*(_read(connection, scope, part) for part in parts))
    return {op.id: op for ops in answers for op in ops}


async def _read(connection: Connection, scope: Scope, uuids: Sequence[uuid.UUID]) -> list[Op]:
    found = await connection.call(
        connection.collection(scope).query.fetch_objects_by_ids(
            uuids, limit=len(uuids), include_vector=True
        )
    )
    read = [to_op(scope, row_of(object), vector_of(object)) for object in found.objects]
    ops = [op for op in read if op is not None]
    seen = await _searchable(connection, scope, [op.id for op in ops if isinstance(op, Upsert)])
    return [op for op in ops if isinstance(op, Delete) or object_id(scope, op.id) in seen]


async def _searchable(connection: Connection, scope: Scope, ids: Sequence[str]) -> set[uuid.UUID]:
    """The objects of ``ids`` that a vector search finds, whatever it filters by."""
    if not ids:
        return set()
    query = connection.collection(scope).query.near_vector(
        [1.0] * scope.space.dimensions,
        filters=indexed(scope, ids),
        limit=len(ids),
        return_properties=[],
    )
    return {object.uuid for object in (await connection.call(query)).objects}


def to_op(scope: Scope, row: Row, vector: Sequence[float] | None) -> Op | None:
    """The op whose object has all properties of ``row``; None if there is none."""
    try:
        op = _to_op(scope, row, vector)
        expected = None if op is None else stored(scope, op)
    except Permanent:
        return None
    if expected is None or expected.uuid != row[UUID]:
        return None
    return op if _holds(scope, row, expected.properties) else None


def _to_op(scope: Scope, row: Row, vector: Sequence[float] | None) -> Op | None:
    if is_tombstone(row):
        plain = is_listed(row) and row[RECORD] is None
        return Delete(from_oid(row[OID]), row[VERSION]) if plain else None
    memory = to_memory(scope, row)
    if memory is None or vector is None or row[SCALE] not in SCALES:
        return None
    return Upsert(memory, to_vector(row, vector))


def _holds(scope: Scope, row: Row, expected: Row) -> bool:
    """Whether all that is expected is there.

    A memory of before a number was declared has neither that property nor its token, and one of a
    field that is declared no more has a token too many: both are found all the same.
    """
    numbers = {
        number_property(field): numbered_token(METADATA + field)
        for field in number_fields(scope.fields)
    }
    tokens = set(row.get(TOKENS) or ())
    if not tokens >= set(expected.get(TOKENS, ())) - set(numbers.values()):
        return False
    undeclared = {name for name, token in numbers.items() if token not in tokens}
    return all(row.get(name) == expected[name] for name in expected.keys() - undeclared - {TOKENS})
