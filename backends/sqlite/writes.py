"""What changes the file. Blocking: runs in the driver's own thread."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from backends.sqlite.rows import TOMBSTONE
from backends.sqlite.schema import ensure_scope, find_scope, texts_of, writing
from memrelay.errors import Permanent
from memrelay.types import (
    APPLIED,
    STALE,
    Delete,
    Op,
    Outcome,
    Scope,
    Upsert,
    failed,
    memory_digest,
    memory_to_json,
)

# The version guard is the WHERE: RETURNING yields nothing when a newer version is there, or the delete
# of an upsert's own version.
_WRITE = f"""
INSERT INTO memories
    (scope, id, version, digest, user_id, session_id, created_at, expires_at, vector, record)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, id) DO UPDATE SET
    version = excluded.version, digest = excluded.digest, user_id = excluded.user_id,
    session_id = excluded.session_id, created_at = excluded.created_at,
    expires_at = excluded.expires_at, vector = excluded.vector, record = excluded.record
WHERE excluded.version > memories.version OR (
    excluded.version = memories.version AND (excluded.record IS NULL OR NOT ({TOMBSTONE}))
)
RETURNING row
"""
_COLLECT = f"""
DELETE FROM memories WHERE row IN (
    SELECT row FROM memories WHERE scope = ? AND {TOMBSTONE} AND version < ?
    ORDER BY version, id LIMIT ?
)
"""

Columns = tuple[str | int | bytes | None, ...]


def ensure(connection: apsw.Connection, scope: Scope) -> None:
    """Make the tables of a scope; no write, and no lock, if they are there."""
    if find_scope(connection, scope) is None:
        with writing(connection):
            ensure_scope(connection, scope)


def apply(connection: apsw.Connection, scope: Scope, ops: Sequence[Op]) -> dict[str, Outcome]:
    """All ops in one transaction: after an error, none of them."""
    rows: dict[str, Columns] = {}
    outcomes: dict[str, Outcome] = {}
    for op in ops:
        prepared = _columns(op, scope.space.dimensions)
        if isinstance(prepared, Permanent):
            outcomes[op.id] = failed(prepared)
        else:
            rows[op.id] = prepared
    if not rows:
        return outcomes
    with writing(connection):
        number = ensure_scope(connection, scope)
        for op in ops:
            if op.id in rows:
                outcomes[op.id] = _write(connection, number, op, rows[op.id])
    return outcomes


def _columns(op: Op, dimensions: int) -> Columns | Permanent:
    """The columns after ``scope``, or why there can be none."""
    if isinstance(op, Delete):
        try:
            op.id.encode()
        except UnicodeEncodeError as error:
            return Permanent(f"no text can hold this id: {error}", code="invalid")
        return (op.id, op.version, *[None] * 7)
    if len(op.vector) != dimensions * 4:
        message = f"a vector of {len(op.vector)} bytes in a space of {dimensions} dimensions"
        return Permanent(message, code="dimension")
    memory = op.memory
    try:
        record = memory_to_json(memory)
    except (TypeError, ValueError) as error:
        return Permanent(f"no JSON can hold this memory: {error}", code="invalid")
    return (
        memory.id,
        memory.version,
        memory_digest(record),
        memory.user_id,
        memory.session_id,
        memory.created_at,
        memory.expires_at,
        op.vector,
        record,
    )


def _write(connection: apsw.Connection, number: int, op: Op, columns: Columns) -> Outcome:
    place = connection.execute(_WRITE, (number, *columns)).get
    if place is None:
        return STALE
    texts = texts_of(number)
    if isinstance(op, Upsert):
        connection.execute(
            f"INSERT OR REPLACE INTO {texts} (rowid, text) VALUES (?, ?)", (place, op.memory.text)
        )
    else:
        connection.execute(f"DELETE FROM {texts} WHERE rowid = ?", (place,))
    return APPLIED


def collect(connection: apsw.Connection, scope: Scope, before: int, limit: int) -> int:
    """The oldest tombstones go first; they have no line in the full-text table."""
    with writing(connection):
        number = find_scope(connection, scope)
        connection.execute(_COLLECT, (number, before, limit))
        return connection.changes()


def purge(connection: apsw.Connection, scope: Scope) -> None:
    """Empty a scope; its number and its tables stay, since other processes know them."""
    with writing(connection):
        number = find_scope(connection, scope)
        if number is not None:
            texts = texts_of(number)
            connection.execute(f"INSERT INTO {texts} ({texts}) VALUES ('delete-all')")
            connection.execute("DELETE FROM memories WHERE scope = ?", (number,))
