"""What reconcile, migrate and expiry read: everything of a scope, tombstones too."""

from __future__ import annotations

from collections.abc import Sequence

from backends.pgvector.conditions import Sql
from backends.pgvector.rows import Row, storable
from backends.pgvector.table import Table
from backends.pgvector.words import tsvector
from memrelay.errors import Permanent
from memrelay.types import Delete, Entry, Op, Page, Upsert, read_memory

# A memory that lost its digest must not pass for a tombstone.
_SCAN = """
SELECT id, version, CASE WHEN record IS NULL THEN digest ELSE coalesce(digest, '') END
FROM {memories} WHERE scope = {scope} AND {after} ORDER BY version, id LIMIT %s
"""
_ROWS = """
SELECT id, version, digest, user_id, session_id, created_at, expires_at, vector, record
FROM {memories} WHERE scope = {scope} AND id = ANY(%s::text[])
"""
_WORDED = """
SELECT g.id FROM unnest(%s::text[], %s::text[]) AS g (id, words)
JOIN {memories} m ON m.scope = {scope} AND m.id = g.id
JOIN {words} w ON w.row = m.row AND w.scope = {scope} AND w.words = g.words::tsvector
"""
_EXPIRED = """
SELECT id, version, record, expires_at FROM {memories}
WHERE scope = {scope} AND expires_at <= %s AND record IS NOT NULL
    AND (expires_at, id) > (%s, %s) ORDER BY expires_at, id LIMIT %s
"""
_FIRST = -(2**63)


async def scan(table: Table, since: int, cursor: str | None, limit: int) -> Page:
    """A cursor is the version and id of the last entry of its page."""
    after = _after(since, cursor)
    text = _SCAN.replace("{after}", after.text)
    entries = [Entry(*row) for row in await table.ask(Sql(text, (*after.values, limit + 1)))]
    if len(entries) <= limit:
        return Page(entries, None)
    last = entries[limit - 1]
    return Page(entries[:limit], f"{last.version}:{last.id}")


def _after(since: int, cursor: str | None) -> Sql:
    if cursor is None:
        return Sql("version >= %s", (since,))
    version, colon, id = cursor.partition(":")
    if not colon or not version.isdecimal() or not storable(id):
        raise Permanent(f"not a cursor of this driver: {cursor!r}", code="cursor")
    return Sql("(version, id) > (%s, %s)", (int(version), id))


async def records(table: Table, ids: Sequence[str]) -> dict[str, Op]:
    rows = await table.ask(Sql(_ROWS, ([id for id in ids if storable(id)],)))
    ops = [Row(*row).op(table.scope) for row in rows]
    worded = await _worded(table, [op for op in ops if isinstance(op, Upsert)])
    return {op.id: op for op in ops if isinstance(op, Delete) or (op and op.id in worded)}


async def _worded(table: Table, ops: Sequence[Upsert]) -> frozenset[str]:
    """The ids that a search by keyword finds by the words of their texts."""
    if not ops:
        return frozenset()
    values = ([op.id for op in ops], [tsvector(op.memory.text) for op in ops])
    return frozenset(id for (id,) in await table.ask(Sql(_WORDED, values)))


async def expired(table: Table, now: int, limit: int) -> list[Delete]:
    """Those that expired first come first; a time that only the column has expires nothing."""
    deletes: list[Delete] = []
    time, last = _FIRST, ""
    while len(deletes) < limit:
        rows = await table.ask(Sql(_EXPIRED, (now, time, last, limit)))
        for id, version, record, _ in rows:
            memory = read_memory(record, table.scope, version)
            if memory is not None and memory.expired(now):
                deletes.append(Delete(id, version))
        if len(rows) < limit:
            break
        last, time = rows[-1][0], rows[-1][3]
    return deletes[:limit]
