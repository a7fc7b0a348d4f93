"""Whether a store does what its interface says, seen on one record, before anything is trusted to it.

A store that lost a field, ignored an id or kept what it was told to delete would lose memories, or show
deleted ones, without a word.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from backends.custom.store import Records
from memrelay.errors import ConfigError
from memrelay.times import now_us
from memrelay.types import Delete, Memory, Op, Scope, Upsert, vector_to_bytes

ID = "probe"


async def probe(store: Records, scope: Scope, where: str) -> None:
    """Write, find, bury and remove one record in a place of its own; ``ConfigError`` at ``where``."""
    own = replace(scope, source=f"{scope.source}/{ID}-{uuid4().hex}")
    try:
        missing = await _missing(store, own)
    finally:
        await store.remove(own, [ID])
    if missing is None and await store.held(own, [ID]):
        missing = "delete_memories does not delete"
    if missing is not None:
        raise ConfigError(f"{where}: the store cannot be used: {missing}")


async def _missing(store: Records, own: Scope) -> str | None:
    """What the store does not do, in the words of its interface."""
    vector = vector_to_bytes([1.0] * own.space.dimensions)
    memory = Memory(id=ID, text=ID, user_id=ID, source=own.source, created_at=now_us(), version=1)
    written, buried = Upsert(memory, vector), Delete(ID, 2)
    await store.put(own, [written], known=False)
    if not await _is(store, own, written):
        return "list_memories by id does not give back, whole, what add_memories was given"
    if [one.op for one in await store.all(own)] != [written]:
        return "list_memories by namespace does not give what is in it"
    near = await store.nearest(own, vector, user=ID, limit=10)
    if [one.op for one in near if one is not None] != [written]:
        return "search_memories does not find a record by its own vector, user and namespace"
    await store.put(own, [buried], known=True)
    if not await _is(store, own, buried) or await store.all(own, dead=False):
        return "update_memories does not replace a record"
    return None


async def _is(store: Records, own: Scope, op: Op) -> bool:
    held = (await store.held(own, [ID])).get(ID)
    return held is not None and held.op == op
