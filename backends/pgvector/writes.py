"""What changes the tables: every statement is for many ids, and takes their rows in the order of the ids.

So two of them never wait for each other in a circle, and none makes a round trip for each op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backends.pgvector.binary import BYTEA, BinaryArray, all_finite, to_vector
from backends.pgvector.conditions import Sql
from backends.pgvector.errors import Refused
from backends.pgvector.rows import TOMBSTONE, storable
from backends.pgvector.table import Table
from backends.pgvector.words import tsvector
from memrelay.errors import Permanent
from memrelay.types import (
    APPLIED,
    STALE,
    Delete,
    Op,
    Outcome,
    Upsert,
    failed,
    memory_digest,
    memory_to_json,
)

PURGED_AT_ONCE = 2000
_BIGINT = range(-(2**63), 2**63)

# The version guard is the WHERE: RETURNING yields nothing when a newer version is there, or the delete of
# an upsert's own version. Words of a tombstone are emptied, not deleted: a statement cannot delete what
# was committed after it began.
_WRITE = """
WITH given AS (
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[],
        %s::bigint[], %b::vector[], %b::bytea[], %s::text[])
    AS g (id, version, digest, user_id, session_id, created_at, expires_at, vector, record, words)
), written AS (
    INSERT INTO {memories} AS m
        (scope, id, version, digest, user_id, session_id, created_at, expires_at, vector, record)
    SELECT {scope}, id, version, digest, user_id, session_id, created_at, expires_at, vector, record
    FROM given ORDER BY id COLLATE "C"
    ON CONFLICT (scope, id) DO UPDATE SET
        version = excluded.version, digest = excluded.digest, user_id = excluded.user_id,
        session_id = excluded.session_id, created_at = excluded.created_at,
        expires_at = excluded.expires_at, vector = excluded.vector, record = excluded.record
    WHERE excluded.version > m.version OR (
        excluded.version = m.version
        AND (excluded.record IS NULL OR NOT (m.digest IS NULL AND m.record IS NULL))
    )
    RETURNING row, id
), worded AS (
    INSERT INTO {words} (row, scope, words)
    SELECT w.row, {scope}, g.words::tsvector FROM written w JOIN given g USING (id)
    ON CONFLICT (row) DO UPDATE SET scope = excluded.scope, words = excluded.words
)
SELECT id FROM written
"""
_COLLECT = f"""
WITH old AS (
    SELECT row FROM {{memories}} WHERE scope = {{scope}} AND {TOMBSTONE} AND version < %s
    ORDER BY version, id LIMIT %s FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {{memories}} m USING old WHERE m.row = old.row RETURNING m.row
), unworded AS (
    DELETE FROM {{words}} w USING gone WHERE w.row = gone.row
)
SELECT count(*) FROM gone
"""
_PURGE = """
WITH next AS (
    SELECT row FROM {memories} WHERE scope = {scope} ORDER BY id LIMIT %s FOR UPDATE
), gone AS (
    DELETE FROM {memories} m USING next WHERE m.row = next.row RETURNING m.row
), unworded AS (
    DELETE FROM {words} w USING gone WHERE w.row = gone.row
)
SELECT count(*) FROM gone
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One op as the columns after ``scope``."""

    id: str
    version: int
    digest: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    created_at: int | None = None
    expires_at: int | None = None
    vector: bytes | None = None
    record: bytes | None = None
    words: str = ""


async def apply(table: Table, ops: Sequence[Op], vector_oid: int) -> dict[str, Outcome]:
    """All ops in one statement; after an error, none of them. ``vector_oid``: the number of the type."""
    outcomes: dict[str, Outcome] = {}
    lines: list[Line] = []
    for op in ops:
        prepared = _line(op, table.scope.space.dimensions)
        if isinstance(prepared, Permanent):
            outcomes[op.id] = failed(prepared)
        else:
            lines.append(prepared)
    return outcomes | await _write(table, lines, vector_oid) if lines else outcomes


async def _write(table: Table, lines: Sequence[Line], vector_oid: int) -> dict[str, Outcome]:
    """Where the server refuses, the guilty ones are found by halves and fail alone."""
    try:
        rows = await table.ask(Sql(_WRITE, _columns(lines, vector_oid)))
    except Refused as error:
        if len(lines) == 1:
            return {lines[0].id: failed(error)}
        middle = len(lines) // 2
        first = await _write(table, lines[:middle], vector_oid)
        return first | await _write(table, lines[middle:], vector_oid)
    applied = {id for (id,) in rows}
    return {line.id: APPLIED if line.id in applied else STALE for line in lines}


def _columns(lines: Sequence[Line], vector_oid: int) -> tuple[Any, ...]:
    return (
        [line.id for line in lines],
        [line.version for line in lines],
        [line.digest for line in lines],
        [line.user_id for line in lines],
        [line.session_id for line in lines],
        [line.created_at for line in lines],
        [line.expires_at for line in lines],
        BinaryArray(vector_oid, [line.vector and to_vector(line.vector) for line in lines]),
        BinaryArray(BYTEA, [line.record for line in lines]),
        [line.words for line in lines],
    )


async def collect(table: Table, before: int, limit: int) -> int:
    """The oldest tombstones go first. One that is being written over is left for the next time."""
    [(count,)] = await table.ask(Sql(_COLLECT, (before, limit)))
    return int(count)


async def purge(table: Table) -> None:
    """Empty a scope, in pieces; its number and its tables stay, since other processes know them."""
    count = 1
    while count:
        [(count,)] = await table.ask(Sql(_PURGE, (PURGED_AT_ONCE,)))


def _line(op: Op, dimensions: int) -> Line | Permanent:
    """The columns of an op, or why there can be none."""
    if isinstance(op, Delete):
        return _unfit([op.version], op.id) or Line(op.id, op.version)
    if len(op.vector) != dimensions * 4:
        message = f"a vector of {len(op.vector)} bytes in a space of {dimensions} dimensions"
        return Permanent(message, code="dimension")
    if not all_finite(op.vector):
        return Permanent("a vector that is not finite", code="invalid")
    return _upsert_line(op)


def _upsert_line(op: Upsert) -> Line | Permanent:
    memory = op.memory
    numbers = [memory.version, memory.created_at, memory.expires_at or 0]
    unfit = _unfit(numbers, memory.id, memory.text, memory.user_id, memory.session_id)
    if unfit is not None:
        return unfit
    try:
        record = memory_to_json(memory)
    except (TypeError, ValueError) as error:
        return Permanent(f"no JSON can hold this memory: {error}", code="invalid")
    return Line(
        memory.id,
        memory.version,
        memory_digest(record),
        memory.user_id,
        memory.session_id,
        memory.created_at,
        memory.expires_at,
        op.vector,
        record,
        tsvector(memory.text),
    )


def _unfit(numbers: Sequence[int], *texts: str | None) -> Permanent | None:
    """Why PostgreSQL cannot hold one of these."""
    if not all(number in _BIGINT for number in numbers):
        return Permanent("a number beyond 64 bits", code="invalid")
    if not all(map(storable, texts)):
        return Permanent("NUL or half of a surrogate pair, which is no text", code="invalid")
    return None
