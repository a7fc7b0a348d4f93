"""What reconcile, migrate and expiry read: everything of a scope, tombstones too. Blocking."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from backends.sqlite.conditions import Sql
from backends.sqlite.rows import Row
from backends.sqlite.schema import find_scope, reading, texts_of
from memrelay.errors import Permanent
from memrelay.types import Delete, Entry, Op, Page, Scope, read_memory

# A memory that lost its digest must not pass for a tombstone.
_SCAN = """
SELECT id, version, CASE WHEN record IS NULL THEN digest ELSE coalesce(digest, '') END
FROM memories WHERE scope = ? AND {} ORDER BY version, id LIMIT ?
"""
# FTS5 keeps a line in its docsize table for each row that it has indexed.
_ROWS = """
SELECT m.id, m.version, m.digest, m.user_id, m.session_id, m.created_at, m.expires_at,
    m.vector, m.record, t.id
FROM memories m LEFT JOIN {}_docsize t ON t.id = m.row
WHERE m.scope = ? AND m.id IN ({})
"""
_EXPIRED = """
SELECT id, version, record FROM memories
WHERE scope = ? AND expires_at <= ? AND record IS NOT NULL ORDER BY expires_at
"""


def scan(
    connection: apsw.Connection, scope: Scope, since: int, cursor: str | None, limit: int
) -> Page:
    """A cursor is the version and id of the last entry of its page."""
    after = _after(since, cursor)
    rows = connection.execute(
        _SCAN.format(after.text), (find_scope(connection, scope), *after.values, limit + 1)
    )
    entries = [Entry(*row) for row in rows]
    if len(entries) <= limit:
        return Page(entries, None)
    last = entries[limit - 1]
    return Page(entries[:limit], f"{last.version}:{last.id}")


def _after(since: int, cursor: str | None) -> Sql:
    if cursor is None:
        return Sql("version >= ?", (since,))
    version, colon, id = cursor.partition(":")
    if not colon or not version.isdecimal():
        raise Permanent(f"not a cursor of this driver: {cursor!r}", code="cursor")
    return Sql("(version, id) > (?, ?)", (int(version), id))


def records(connection: apsw.Connection, scope: Scope, ids: Sequence[str]) -> dict[str, Op]:
    with reading(connection):
        number = find_scope(connection, scope)
        if number is None:
            return {}
        marks = ", ".join("?" * len(ids))
        rows = connection.execute(_ROWS.format(texts_of(number), marks), (number, *ids))
        found = {row[0]: Row(*row).op(scope) for row in rows}
    return {id: op for id, op in found.items() if op is not None}


def expired(connection: apsw.Connection, scope: Scope, now: int, limit: int) -> list[Delete]:
    """Those that expired first come first; a time that only the column has expires nothing."""
    deletes: list[Delete] = []
    with reading(connection):
        rows = connection.execute(_EXPIRED, (find_scope(connection, scope), now))
        for id, version, record in rows:
            if len(deletes) == limit:
                break
            memory = read_memory(record, scope, version)
            if memory is not None and memory.expired(now):
                deletes.append(Delete(id, version))
        rows.close()
    return deletes
