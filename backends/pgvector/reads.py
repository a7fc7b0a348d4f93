"""Reads by id and by filter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from backends.pgvector.conditions import ALWAYS, Sql, necessary
from backends.pgvector.rows import storable
from backends.pgvector.table import LIVE, UNEXPIRED, Table
from memrelay.filters import Filter, matches
from memrelay.types import Memory, read_memory

PAGE = 1000
_GET = f"SELECT id, version, record FROM {{memories}} m WHERE {LIVE} AND id = ANY(%s::text[])"
_COUNT = f"SELECT count(*) FROM {{memories}} m WHERE {UNEXPIRED}"


async def get(table: Table, ids: Sequence[str]) -> dict[str, Memory]:
    rows = await table.ask(Sql(_GET, ([id for id in ids if storable(id)],)))
    found = {id: read_memory(record, table.scope, version) for id, version, record in rows}
    return {id: memory for id, memory in found.items() if memory is not None}


async def count(table: Table, node: Filter | None, now: int) -> int:
    """In SQL where there is no filter; by reading what the condition leaves where there is one."""
    if node is None:
        [(number,)] = await table.ask(Sql(_COUNT, (now,)))
        return int(number)
    pages = _pages(table, Sql(UNEXPIRED, (now,)), node, None, PAGE)
    return sum([len(page) async for page in pages])


async def find(table: Table, node: Filter | None, after: str | None, limit: int) -> list[Memory]:
    found: list[Memory] = []
    async for page in _pages(table, Sql(LIVE), node, after, max(limit, 64)):
        found += page
        if len(found) >= limit:
            break
    return found[:limit]


async def _pages(
    table: Table, live: Sql, node: Filter | None, after: str | None, size: int
) -> AsyncIterator[list[Memory]]:
    """What passes ``node``, by id. The column's collation is that of code points."""
    where = necessary(node)
    while True:
        begin = ALWAYS if after is None else Sql("m.id > %s", (after.partition("\0")[0],))
        statement = Sql(
            f"SELECT id, version, record FROM {{memories}} m "
            f"WHERE {live.text} AND {begin.text} AND {where.text} ORDER BY m.id LIMIT %s",
            (*live.values, *begin.values, *where.values, size),
        )
        rows = await table.ask(statement)
        memories = [read_memory(record, table.scope, version) for _, version, record in rows]
        yield [memory for memory in memories if memory is not None and matches(node, memory)]
        if len(rows) < size:
            return
        after = rows[-1][0]
