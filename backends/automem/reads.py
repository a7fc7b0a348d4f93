"""What only reads. But for ``get`` and ``records``, time is in proportion to what the ids, sessions or users
of a filter leave of the scope: about 1.3 ms for each memory, most of it AutoMem's own."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from backends.automem.connection import Connection
from backends.automem.listing import confirmed, held, listing, live, newest
from backends.automem.rows import Row
from backends.automem.tags import live_tag, scope_tag
from memrelay.errors import Permanent
from memrelay.filters import Filter, matches
from memrelay.types import Delete, Entry, Memory, Op, Page, Scope


async def get(connection: Connection, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
    found = await held(connection, scope, ids)
    memories = (rows[0].memory(scope) for rows in found.values())
    return {memory.id: memory for memory in memories if memory is not None}


async def records(connection: Connection, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
    found = await held(connection, scope, ids)
    ops = (rows[0].op(scope) for rows in found.values())
    return {op.id: op for op in ops if op is not None}


async def count(connection: Connection, scope: Scope, node: Filter | None, now: int) -> int:
    def counts(row: Row) -> bool:
        memory = passing(row, scope, node)
        return memory is not None and not memory.expired(now)

    return sum((await newest(live(connection, scope, node), counts)).values())


async def find(
    connection: Connection, scope: Scope, node: Filter | None, after: str | None, limit: int
) -> Sequence[Memory]:
    """Ids first, which are small; then the memories of the first ``limit`` of them."""

    def found(row: Row) -> Memory | None:
        return passing(row, scope, node)

    def is_found(row: Row) -> bool:
        return (after is None or (row.id or "") > after) and found(row) is not None

    ids = await newest(live(connection, scope, node), is_found)
    in_order = sorted(id for id, passes in ids.items() if passes)
    return await confirmed(connection, scope, in_order, found, limit)


async def expired(connection: Connection, scope: Scope, now: int, limit: int) -> list[Delete]:
    def is_over(row: Row) -> Delete | None:
        memory = row.memory(scope)
        over = memory is not None and memory.expired(now)
        return Delete(memory.id, memory.version) if memory is not None and over else None

    found = await newest(listing(connection, [live_tag(scope)]), is_over)
    return [delete for delete in found.values() if delete is not None][:limit]


async def scan(
    connection: Connection, scope: Scope, since: int, cursor: str | None, limit: int
) -> Page:
    """Each page reads the scope: ask for large ones. A cursor is version and id of a page's last entry."""
    after = (since, "") if cursor is None else _position(cursor)

    def entry(row: Row) -> Entry:
        return Entry(row.id or "", row.version, row.digest)

    held = (await newest(listing(connection, [scope_tag(scope)]), entry)).values()
    rest = (e for e in held if (e.version, e.id) > after or (cursor is None and e.version == since))
    entries = heapq.nsmallest(limit + 1, rest, key=lambda e: (e.version, e.id))
    if len(entries) <= limit:
        return Page(entries, None)
    last = entries[limit - 1]
    return Page(entries[:limit], f"{last.version}:{last.id}")


def passing(row: Row, scope: Scope, node: Filter | None) -> Memory | None:
    """The memory of a row, if it can be read and passes ``node`` exactly."""
    memory = row.memory(scope)
    return memory if memory is not None and matches(node, memory) else None


def _position(cursor: str) -> tuple[int, str]:
    version, colon, id = cursor.partition(":")
    if not colon or not version.isdecimal():
        raise Permanent(f"not a cursor of this driver: {cursor!r}", code="cursor")
    return int(version), id
