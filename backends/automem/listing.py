"""Rows by their tags, page by page, each once; and the newest row of each id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import batched, islice

from backends.automem.connection import Connection
from backends.automem.rows import LOWEST, Rank, Row, read_row
from backends.automem.tags import id_tag, narrowing
from memrelay.filters import Filter
from memrelay.types import Scope

OVERLAP = 8
"""Rows that a page has in common with the one before it, if nothing is removed meanwhile."""


async def listing(connection: Connection, tags: Sequence[str]) -> AsyncGenerator[Row]:
    """What has any of ``tags`` exactly. What stood still while it was read comes once.

    AutoMem pages by offset, in an order that stands. What is removed in front of an offset moves the rest
    past it: so a page must show something of the one before, and is asked for further in front until it does.
    """
    wanted = frozenset(tags)
    seen: set[str] = set()
    last: set[str] = set()
    offset, more = 0, True
    while more:
        raw, more = await connection.page(tags, offset)
        rows = [row for row in map(read_row, raw) if row is not None]
        shown = {row.uuid for row in rows}
        if offset > 0 and last.isdisjoint(shown):
            offset, more = max(0, offset - connection.settings.page), True
            continue
        for row in rows:
            if row.uuid not in seen and not wanted.isdisjoint(row.tags):
                yield row
        seen |= shown
        last, offset = shown, offset + max(1, len(raw) - OVERLAP)


async def held(
    connection: Connection, scope: Scope, ids: Iterable[str]
) -> Mapping[str, Sequence[Row]]:
    """All rows of each of ``ids`` of which there are any, that of the highest rank first."""
    names = {id_tag(scope, id): id for id in ids}
    found: dict[str, list[Row]] = {}

    async def read(tags: Sequence[str]) -> None:
        async for row in listing(connection, tags):
            for tag in row.tags & names.keys():
                found.setdefault(names[tag], []).append(row)

    await asyncio.gather(*(read(part) for part in batched(names, connection.settings.lookup)))
    return {id: sorted(rows, key=lambda row: row.rank, reverse=True) for id, rows in found.items()}


async def live(connection: Connection, scope: Scope, node: Filter | None) -> AsyncIterator[Row]:
    """Every row of a memory that passes ``node``, and others of the scope."""
    for tags in batched(narrowing(scope, node), connection.settings.lookup):
        async for row in listing(connection, tags):
            yield row


async def newest[T](rows: AsyncIterator[Row], judge: Callable[[Row], T]) -> dict[str, T]:
    """What ``judge`` says of the row of the highest rank of each id, among ``rows``."""
    ranks: dict[str, Rank] = {}
    said: dict[str, T] = {}
    async for row in rows:
        if row.id is not None and row.rank > ranks.get(row.id, LOWEST):
            ranks[row.id] = row.rank
            said[row.id] = judge(row)
    return said


async def confirmed[T](
    connection: Connection,
    scope: Scope,
    ids: Iterable[str],
    judge: Callable[[Row], T | None],
    limit: int,
) -> list[T]:
    """What ``judge`` says of the newest row of each id, if it says anything, until it is ``limit``.

    A listing that was narrowed may have shown a row that another one beats, which it did not show.
    """
    found: list[T] = []
    rest = iter(ids)
    while part := list(islice(rest, limit - len(found))):
        rows = await held(connection, scope, part)
        judged = [judge(rows[id][0]) for id in part if id in rows]
        found += [one for one in judged if one is not None]
    return found
