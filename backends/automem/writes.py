"""Writing: highest version wins, as far as a store without compare-and-set allows.

AutoMem gives every memory it stores an id of its own, so what is newer cannot take the place of what is
older in one step. We look at what is held of an id, store ours beside it if it wins, look again, and remove
every row that another one beats. Which beats which follows from the rows alone, and every writer looks after
it has stored: of writers that race the last to look sees all rows, and only the highest is left. A writer
that dies in between, or whose answer is lost, leaves a row too many: reads take the highest, and the same op
once more finds what is there, stores nothing twice, and removes the rest.

What stays open is what a reader sees meanwhile, whom a user's tag leads to a row that is beaten and not yet
removed: ``search`` and ``find`` look each of their answers up by id, ``count`` does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing

from backends.automem.connection import Connection
from backends.automem.listing import held, listing, newest
from backends.automem.rows import Draft, Row, draft
from backends.automem.tags import dead_tag, scope_tag
from memrelay.errors import Permanent, Transient
from memrelay.times import now_us
from memrelay.types import APPLIED, STALE, Op, Outcome, Scope, failed

PURGED_AT_ONCE = 1000
BATCH_BYTES = 4 << 20
"""A request of ours; who takes less refuses it with 413, and gets it in halves."""

Held = Mapping[str, Sequence[Row]]
Outcomes = dict[str, Outcome]


class Writer:
    """The applies, collections and purges of one driver."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        outcomes: Outcomes = {}
        drafts: list[Draft] = []
        for op in ops:
            try:
                drafts.append(draft(scope, op))
            except Permanent as error:
                outcomes[op.id] = failed(error)
        return outcomes | await self._apply(scope, drafts) if drafts else outcomes

    async def collect(self, scope: Scope, before: int, limit: int) -> int:
        """Of an id whose tombstone goes, all goes; what a tombstone beats goes first."""
        versions = await newest(
            listing(self._connection, [dead_tag(scope)]), lambda row: row.version
        )
        old = sorted((version, id) for id, version in versions.items() if version < before)
        found = await held(self._connection, scope, [id for _, id in old[:limit]])
        await self._remove(row for rows in found.values() for row in rows[1:])
        gone = [rows[0] for rows in found.values() if rows[0].dead and rows[0].version < before]
        return await self._remove(gone)

    async def purge(self, scope: Scope) -> None:
        """By ids that a listing showed with our tag: AutoMem's own deletion by tag minds no case.

        Some at a time, so that a purge that runs out of time has done a part.
        """
        while rows := await self._some(scope):
            await self._remove(rows)

    async def _some(self, scope: Scope) -> list[Row]:
        found: list[Row] = []
        async with aclosing(listing(self._connection, [scope_tag(scope)])) as rows:
            async for row in rows:
                found.append(row)
                if len(found) == PURGED_AT_ONCE:
                    break
        return found

    async def _apply(self, scope: Scope, drafts: Sequence[Draft]) -> Outcomes:
        ids = [draft.op.id for draft in drafts]
        found = await held(self._connection, scope, ids)
        waiting = [draft for draft in drafts if _is_missing(found, draft)]
        stamp = _stamp(found)
        refused = await self._store(waiting, stamp)
        if waiting:
            found = await held(self._connection, scope, ids)
        await self._remove(row for rows in found.values() for row in rows[1:])
        outcomes = {draft.op.id: _outcome(found, draft, stamp) for draft in drafts}
        return outcomes | {id: failed(error) for id, error in refused.items()}

    async def _store(self, drafts: Sequence[Draft], stamp: int) -> Mapping[str, Permanent]:
        """What was refused, by its id."""
        refused: dict[str, Permanent] = {}
        for batch in _batches(drafts, self._connection.settings.batch):
            refused |= await self._store_batch(batch, stamp)
        return refused

    async def _store_batch(self, batch: Sequence[Draft], stamp: int) -> Mapping[str, Permanent]:
        """AutoMem takes all or none: what it refuses is sent in halves, down to the guilty one."""
        limit = self._connection.settings.content_limit
        try:
            await self._connection.store([draft.payload(stamp, limit) for draft in batch])
        except Permanent as error:
            if len(batch) == 1:
                return {batch[0].op.id: error}
            half = len(batch) // 2
            first = await self._store_batch(batch[:half], stamp)
            return {**first, **await self._store_batch(batch[half:], stamp)}
        return {}

    async def _remove(self, rows: Iterable[Row]) -> int:
        """How many were there; each is removed by itself."""
        removed = await asyncio.gather(*(self._connection.remove(row.uuid) for row in rows))
        return sum(removed)


def _is_missing(found: Held, draft: Draft) -> bool:
    """Whether it has to be stored: nothing newer is there, nor is it there itself."""
    rows = found.get(draft.op.id)
    return not rows or not (draft.is_beaten(rows[0]) or draft.is_held(rows[0]))


def _stamp(found: Held) -> int:
    """Above all that are there, whatever the clocks of other writers said."""
    return max(now_us(), *(1 + row.stamp for rows in found.values() for row in rows), 0)


def _outcome(found: Held, draft: Draft, stamp: int) -> Outcome:
    """By what is read after the write."""
    rows = found.get(draft.op.id)
    if rows and draft.is_beaten(rows[0]):
        return STALE
    if rows and (draft.is_held(rows[0]) or rows[0].stamp >= stamp):
        return APPLIED
    return failed(Transient("what was written is not what is read afterwards", code="race"))


def _batches(drafts: Sequence[Draft], most: int) -> Iterator[list[Draft]]:
    """At most ``most`` and BATCH_BYTES each, if one alone is not more."""
    batch: list[Draft] = []
    size = 0
    for one in drafts:
        if batch and (len(batch) == most or size + one.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch
