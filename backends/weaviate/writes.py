"""Writing: highest version wins, as far as a store without compare-and-set allows.

Within one process no two applies work on the same id at once, so the version that was read is the one
that is replaced. Another process may write between our read and our insert; what we wrote is therefore
read again, and written again where something lower has taken its place. One order stays open: the other
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

And without room (measured on a small disk):

- Above DISK_USE_READONLY_PERCENTAGE a tenant is read-only. A batch is then refused as a whole, but the
  answer says so of its first object alone; the marker, which is a batch of one, tells. Below it Weaviate
  takes writes again by itself, within a second: if that is between batch and marker, ``SCALE`` tells what
  is lost.
- A disk that is really full leaves a log that takes nothing more, room or not, until Weaviate writes its
  memory out, a minute later by default. Until then it says so of every object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from uuid import UUID

from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter as Where
from weaviate.collections.classes.filters import FilterReturn

from backends.weaviate import reads, schema
from backends.weaviate.conditions import in_source, tombstones
from backends.weaviate.connection import Connection
from backends.weaviate.errors import AllRefused
from backends.weaviate.exclusive import Exclusive
from backends.weaviate.objects import (
    MARKER,
    OID,
    SCALE,
    SCALES,
    VERSION,
    Row,
    Stored,
    is_tombstone,
    stored,
)
from backends.weaviate.walk import DEEPEST
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

    async def collect(self, scope: Scope, before: int, limit: int) -> int:
        """Tombstones that a crash brings back are there for the next collection, and harm nobody."""
        where = tombstones(scope, before)
        uuids = await self._some(scope, where, min(limit, DELETED_AT_ONCE))
        if not uuids:
            return 0
        await self._writing.acquire(uuids)
        with self._writing.releasing(uuids):
            return await self._remove(scope, where, uuids)

    async def purge(self, scope: Scope) -> None:
        """By ids, since one deletion by source takes 10,000 objects and 5 s, which is too long a call."""
        where = in_source(scope)
        while uuids := await self._some(scope, where, DELETED_AT_ONCE):
            await self._remove(scope, where, uuids)

    async def _apply(self, scope: Scope, items: Mapping[UUID, Stored]) -> Outcomes:
        held = await self._held(scope, items)
        outcomes: Outcomes = {}
        waiting = []
        for uuid, item in items.items():
            if _beats(held.get(uuid), item):
                outcomes[item.op.id] = STALE
            else:
                waiting.append(item)
        await self._remove_strays(
            scope, [i for i in waiting if _version(held.get(i.uuid)) == i.op.version]
        )
        for turn in range(ROUNDS):
            if not waiting:
                return outcomes
            scales = {item.uuid: _scale(held.get(item.uuid), turn) for item in waiting}
            dead = [item for item in waiting if item.vector is None]
            await self._hold_places(
                scope, [item for item in dead if turn > 0 or _is_dead(held.get(item.uuid))]
            )
            errors = await self._write(scope, waiting, scales)
            outcomes |= {item.op.id: _outcome(errors.get(item.uuid)) for item in waiting}
            written = [item for item in waiting if item.uuid not in errors]
            held = await reads.held(self._connection, scope, [item.uuid for item in written])
            waiting = [
                item
                for item in written
                if not _is_taken(held.get(item.uuid), item, scales[item.uuid])
            ]
        lost = Transient("what was written is not what is read afterwards", code="race")
        return outcomes | {item.op.id: failed(lost) for item in waiting}

    async def _held(self, scope: Scope, items: Mapping[UUID, Stored]) -> Held:
        """What is there now. A server that lost its disk is given its collection and tenant again."""
        try:
            return await reads.held(self._connection, scope, list(items))
        except Unavailable:
            raise
        except Transient:
            await schema.ensure(self._connection, scope)
            return await reads.held(self._connection, scope, list(items))

    async def _hold_places(self, scope: Scope, items: Sequence[Stored]) -> None:
        if items:
            placeholders = [item.placeholder(scope.space.dimensions) for item in items]
            await self._insert(scope, placeholders)

    async def _write(
        self, scope: Scope, items: Sequence[Stored], scales: Mapping[UUID, int]
    ) -> Mapping[UUID, MemrelayError]:
        """Write objects in the place of what is held, and say which of them Weaviate did not take."""
        errors: dict[UUID, MemrelayError] = {}
        for batch in _by_size(items):
            objects = [item.object(scales[item.uuid]) for item in batch]
            refused = await self._insert(scope, objects)
            errors |= {batch[index].uuid: error for index, error in refused.items()}
        marker = await self._insert(scope, [DataObject(properties={}, uuid=MARKER)])
        return {item.uuid: error for error in marker.values() for item in items} | errors

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

    async def _remove_strays(self, scope: Scope, items: Sequence[Stored]) -> None:
        """Objects that say they are ``items`` and lie elsewhere, which others have put there."""
        if not items:
            return
        oids = [item.properties[OID] for item in items]
        where = in_source(scope) & Where.by_property(OID).contains_any(oids)
        found = await self._some(scope, where, DEEPEST)
        strays = set(found) - {item.uuid for item in items}
        if strays:
            await self._remove(scope, where, strays)

    async def _some(self, scope: Scope, where: FilterReturn, limit: int) -> set[UUID]:
        """At most ``limit`` objects; none only if there are none, whatever an index still knows."""
        query = self._connection.collection(scope).query
        for asked in (limit, DEEPEST):
            found = await self._connection.call(
                query.fetch_objects(filters=where, limit=asked, return_properties=[])
            )
            if found.objects:
                break
        return {object.uuid for object in found.objects[:limit]}

    async def _remove(self, scope: Scope, where: FilterReturn, uuids: Set[UUID]) -> int:
        """Those that pass ``where``; how many it were. One by one where the index of ids has lost some."""
        data = self._connection.collection(scope).data
        done = await self._connection.call(
            data.delete_many(where=where & Where.by_id().contains_any(list(uuids)))
        )
        if done.failed:
            raise Transient(f"{done.failed} objects could not be removed", code="remove")
        left: Set[UUID] = set()
        if done.successful < len(uuids):
            left = uuids & await self._some(scope, where, DEEPEST)
            for uuid in left:
                await self._connection.call(data.delete_by_id(uuid))
        return done.successful + len(left)


def _version(held: Row | None) -> int:
    """-1, which is lower than all, if nothing is there that tells."""
    return -1 if held is None or held[VERSION] is None else held[VERSION]


def _is_dead(held: Row | None) -> bool:
    return held is not None and is_tombstone(held)


def _beats(held: Row | None, item: Stored) -> bool:
    """Whether what is there is newer, or the delete of the version that ``item`` is an upsert of."""
    same = _version(held) == item.op.version
    return _version(held) > item.op.version or (same and _is_dead(held) and item.vector is not None)


def _is_taken(held: Row | None, item: Stored, scale: int) -> bool:
    """Whether what is read after a write is what was written, or beats it."""
    if held is None or _beats(held, item):
        return held is not None
    written = held[VERSION] == item.op.version and held[SCALE] == scale
    return written and _is_dead(held) == (item.vector is None)


def _scale(held: Row | None, turn: int) -> int:
    """Another one than that of ``held``, and another one each turn, for what is there but not seen."""
    last = SCALES.index(held[SCALE]) if held is not None and held[SCALE] in SCALES else -1
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
