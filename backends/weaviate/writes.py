"""Writing: highest version wins, as far as a store without compare-and-set allows.

Within one process no two applies work on the same id at once, so the version that was read is the one
that is replaced. Another process may write between our read and our insert; what we wrote is therefore
read again, and written again where a lower version has taken its place. One order stays open: the other
process reads before we write, writes a lower version after we looked, and has nothing to see itself.
Leases keep two workers off one envelope; for the rest there is the recheck list, and reconcile.

What Weaviate 1.39 does to a batch in a crash (kill -9, measured; see weaviate#3285 and #4262):

- It writes out its logs while the workers are still adding vectors, so the last of an acknowledged batch
  are lost to searches, though not as objects. The next batch writes them out: hence the marker.
- Of a batch under way, objects may survive without their entries in the indexes, even that of ids, so that
  a read does not see them; and what is written again as it is, or with the same vector, is not indexed
  again. So a vector is always written other than it was (``SCALE``), what cannot be read back is written
  once more, and a tombstone goes over a placeholder that has a vector.
- Entries may survive without their objects: an answer that is shorter than its limit is not the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter as Where

from backends.weaviate import reads, schema
from backends.weaviate.conditions import in_source
from backends.weaviate.connection import Connection
from backends.weaviate.errors import AllRefused
from backends.weaviate.exclusive import Exclusive
from backends.weaviate.objects import (
    DELETED,
    MARKER,
    OID,
    SCALE,
    SCALES,
    VERSION,
    Row,
    Stored,
    from_oid,
    object_id,
    stored,
)
from backends.weaviate.walk import START, Walk
from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable
from memrelay.types import APPLIED, STALE, Op, Outcome, Scope, failed

ROUNDS = 3
"""How often an object is written before an apply gives up on one that others keep lowering."""
BATCH_BYTES = 16 << 20
DELETED_AT_ONCE = 1000

Outcomes = dict[str, Outcome]
Held = Mapping[UUID, Row]


class Writer:
    """The applies and purges of one driver."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writing = Exclusive[UUID]()

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        outcomes: Outcomes = {}
        items: dict[UUID, Stored] = {}
        for op in ops:
            try:
                item = stored(scope, op)
            except Permanent as error:
                outcomes[op.id] = failed(error)
            else:
                items[item.uuid] = item
        if items:
            await self._writing.acquire(items.keys())
            with self._writing.releasing(items.keys()):
                outcomes |= await self._apply(scope, items)
        return outcomes

    async def purge(self, scope: Scope) -> None:
        """By ids, since one deletion by source takes 10,000 objects and 5 s, which is too long a call."""
        walk = Walk(self._connection, self._connection.collection(scope), in_source(scope), [])
        while True:
            rows, _ = await walk.page(START, DELETED_AT_ONCE)
            if not rows:
                return
            await self._remove(scope, [object_id(scope, from_oid(row[OID])) for row in rows])

    async def _apply(self, scope: Scope, items: Mapping[UUID, Stored]) -> Outcomes:
        held = await self._held(scope, items)
        outcomes: Outcomes = {}
        waiting = []
        for uuid, item in items.items():
            if uuid in held and held[uuid][VERSION] > item.op.version:
                outcomes[item.op.id] = STALE
            else:
                waiting.append(item)
        for turn in range(ROUNDS):
            if not waiting:
                return outcomes
            errors = await self._write(scope, waiting, held, turn)
            outcomes |= {item.op.id: _outcome(errors.get(item.uuid)) for item in waiting}
            written = [item for item in waiting if item.uuid not in errors]
            held = await reads.held(self._connection, scope, [item.uuid for item in written])
            waiting = [item for item in written if _is_lower(held.get(item.uuid), item)]
        lowered = Transient(
            "another writer keeps putting a lower version in its place", code="race"
        )
        return outcomes | {item.op.id: failed(lowered) for item in waiting}

    async def _held(self, scope: Scope, items: Mapping[UUID, Stored]) -> Held:
        """What is there now. A server that lost its disk is given its collection and tenant again."""
        try:
            return await reads.held(self._connection, scope, list(items))
        except Unavailable:
            raise
        except Transient:
            await schema.ensure(self._connection, scope)
            return await reads.held(self._connection, scope, list(items))

    async def _write(
        self, scope: Scope, items: Sequence[Stored], held: Held, turn: int
    ) -> Mapping[UUID, MemrelayError]:
        """Write objects in the place of what is held, and say which of them Weaviate did not take."""
        dead = [item for item in items if item.vector is None]
        again = [item for item in dead if turn > 0 or _is_tombstone(held.get(item.uuid))]
        if again:
            placeholders = [item.placeholder(scope.space.dimensions) for item in again]
            await self._insert(scope, placeholders)
        errors: dict[UUID, MemrelayError] = {}
        for batch in _by_size(items):
            objects = [item.object(_scale(held.get(item.uuid), turn)) for item in batch]
            refused = await self._insert(scope, objects)
            errors |= {batch[index].uuid: error for index, error in refused.items()}
        marker = await self._insert(scope, [DataObject(properties={}, uuid=MARKER)])
        return errors | {item.uuid: error for error in marker.values() for item in items}

    async def _insert(
        self, scope: Scope, objects: Sequence[DataObject[Row, None]]
    ) -> Mapping[int, MemrelayError]:
        """What was refused, by its index."""
        data = self._connection.collection(scope).data
        try:
            answer = await self._connection.call(data.insert_many(objects))
        except AllRefused as error:
            return dict.fromkeys(range(len(objects)), error)
        return {
            index: Transient(refused.message, code="refused")
            for index, refused in answer.errors.items()
        }

    async def _remove(self, scope: Scope, uuids: Sequence[UUID]) -> None:
        """One by one where the index of ids has lost some."""
        data = self._connection.collection(scope).data
        done = await self._connection.call(
            data.delete_many(where=Where.by_id().contains_any(uuids))
        )
        if done.failed:
            raise Transient(f"{done.failed} objects could not be removed", code="remove")
        if done.successful < len(uuids):
            for uuid in uuids:
                await self._connection.call(data.delete_by_id(uuid))


def _is_lower(held: Row | None, item: Stored) -> bool:
    return held is None or held[VERSION] < item.op.version


def _is_tombstone(held: Row | None) -> bool:
    return held is not None and bool(held[DELETED])


def _scale(held: Row | None, turn: int) -> int:
    """Another one than that of ``held``, and another one each turn, for what is there but not seen."""
    last = SCALES.index(held[SCALE]) if held is not None and held[SCALE] else -1
    return SCALES[(last + 1 + turn) % len(SCALES)]


def _outcome(error: MemrelayError | None) -> Outcome:
    return APPLIED if error is None else failed(error)


def _by_size(items: Sequence[Stored]) -> Iterator[list[Stored]]:
    """Batches that a gRPC message holds with room to spare."""
    batch: list[Stored] = []
    size = 0
    for item in items:
        if batch and size + item.size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch
