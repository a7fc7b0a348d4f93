"""The replicas of a source as reconcile takes them: writes under the locks that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from uuid import uuid4

from backends.journal import Scoped
from backends.journal.marks import scoped_filter
from backends.journal.sync import places
from backends.mirror import twinned
from backends.parts import parts
from backends.reconcile import Peer
from backends.sources import Source
from backends.store import Store
from memrelay.types import Delete, Op, Outcome, Scope
from workers.room import Room


@dataclass(frozen=True, slots=True)
class Place:
    """One source of one namespace."""

    namespace: str
    source: Source

    @property
    def name(self) -> str:
        return f"{self.namespace}|{self.source.name}"

    @property
    def scope(self) -> Scope:
        return self.source.scope(self.namespace)


async def all_places(room: Room) -> list[Place]:
    """Everything that was ever accepted for and is configured here."""
    known = await places(room.journal)
    by_name = room.sources.by_name
    return [Place(namespace, by_name[name]) for namespace, name in known if name in by_name]


def place_of(room: Room, name: str) -> Place | None:
    """The place that the journal calls ``namespace|source``, if it is configured here."""
    namespace, _, source = name.rpartition("|")
    found = room.sources.by_name.get(source)
    return None if found is None else Place(namespace, found)


def peers_of(room: Room, place: Place, *, without: Iterable[str] = ()) -> list[Peer]:
    """The replicas of a place in order, but for some drivers, and for those that are to be filled first."""
    left_out = set(without)
    return [
        locked(room, place, store) for store in place.source.merged if store.name not in left_out
    ]


def alone(room: Room, place: Place, store: Store) -> AbstractAsyncContextManager[None]:
    """The one writer of a store that cannot compare versions itself; nothing for one that can."""
    if store.driver.capabilities.atomic_versions:
        return nullcontext()
    store.check()
    return room.locks.hold(f"{store.name}|{place.name}", uuid4().hex)


def locked(room: Room, place: Place, store: Store) -> Peer:
    async def write(scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        if place.source.building is not None:
            ops = await twinned(place.source.building, ops)
        async with alone(room, place, store):
            return await store.call(scope, lambda driver: driver.apply(scope, ops))

    return Peer(store.name, store.call, write)


async def delete_where(peer: Peer, scope: Scope, line: Scoped) -> None:
    """Delete by filter, from one replica, what is older than ``line``; each at its own version."""
    async for part in parts(peer.call, scope, scoped_filter(line.filter)):
        older = [
            Delete(memory.id, memory.version)
            for memory in part.matching
            if memory.version < line.version
        ]
        for outcome in (await peer.write(scope, older)).values() if older else ():
            if outcome.error is not None:
                raise outcome.error
