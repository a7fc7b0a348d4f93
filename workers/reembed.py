"""Reembed: a space is built from the texts beside the one that a source has, in each of its drivers.

What is written goes to both, from the moment that the journal knows of it; what was there before is read
once, from the first version on. When every driver has all of it the source moves, and the space that is
left is dropped when no API can be reading it any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import uuid4

from backends.journal.locks import Busy
from backends.journal.spaces import (
    WHOLE,
    Spaces,
    all_know,
    built,
    dropped,
    failed,
    reached,
    read,
    spaces,
    switch,
)
from backends.journal.sync import states
from backends.journal.usage import clock
from backends.mirror import mirrored, with_vectors
from backends.reconcile.peer import peer_of, scan_page
from backends.sources import Source
from backends.store import Store
from memrelay.driver import Driver
from memrelay.embedder import Embedder
from memrelay.errors import MemrelayError
from memrelay.types import Delete, Entry, Memory, Op, Outcome, Scope, Upsert
from workers.peers import Place, all_places, alone
from workers.room import Room

log = logging.getLogger("memrelay.worker")
SLICE_SECONDS = 20.0
PAGE = 512
GRACE_MS = 30_000
"""For which what is left is kept: a request that began before may still be reading it."""
PURGE_SECONDS = 60.0
OTHERS = ("sync", "expire", "recheck", "retired", "collect")
"""Steps that write; one that began before a space was to be built writes to the other alone."""
QUIET = "quiet"


async def reembed(room: Room) -> None:
    known = await spaces(room.journal, room.sources.by_name)
    for source in room.sources.by_name.values():
        it = known[source.name]
        if it.building and source.building is not None and it.epoch == source.spaces.epoch:
            await _try_to_build(room, source)
        elif it.old and not it.building:
            await _drop(room, source, it)


async def _try_to_build(room: Room, source: Source) -> None:
    try:
        await _build(room, source, time.monotonic() + SLICE_SECONDS)
    except Busy:
        return  # somebody has not ended what began before: the next turn
    except MemrelayError as error:
        await failed(room.journal, source.name, str(error))
        raise


async def _build(room: Room, source: Source, until: float) -> None:
    """One slice, in one driver after the other."""
    done = await built(room.journal, source.name)
    if QUIET not in done:
        await _until_quiet(room)
        await reached(room.journal, source.name, QUIET, WHOLE, 0)
    known = await states(room.journal, [store.name for store in source.stores])
    for place in await all_places(room):
        for store in source.serving if place.source.name == source.name else ():
            name = f"{place.name}|{store.name}"
            if known[store.name].state == "" and done.get(name) != WHOLE:
                await _copy(room, place, store, done.get(name), until)
            if time.monotonic() > until:
                return
    if await switch(room.journal, source.name):
        log.warning("source %s is embedded anew: it has moved", source.name)


async def _until_quiet(room: Room) -> None:
    """Return when no step runs that began before this; ``Busy`` if one goes on."""
    for name in OTHERS:
        async with room.locks.hold(f"maintain:{name}", uuid4().hex, wait=5.0):
            pass


async def _copy(room: Room, place: Place, store: Store, cursor: str | None, until: float) -> None:
    """From ``cursor`` on to the end, or until the time is over."""
    embedder = place.source.building
    assert embedder is not None
    while time.monotonic() < until:
        page = await scan_page(place.scope, peer_of(store), cursor=cursor, limit=PAGE)
        if page.entries:
            await _embed(room, place, store, page.entries, embedder)
        cursor = page.cursor
        name = f"{place.name}|{store.name}"
        await reached(room.journal, place.source.name, name, cursor or WHOLE, len(page.entries))
        if cursor is None:
            return


async def _embed(
    room: Room, place: Place, store: Store, entries: Sequence[Entry], embedder: Embedder
) -> None:
    """What a page of the source's space shows, in the other space. An id that was written since is there
    already, or will be: the higher version wins."""
    scope = place.scope
    live = [entry.id for entry in entries if entry.digest is not None]
    found = await store.call(scope, partial(_get, scope, live)) if live else {}
    ops: list[Op] = [Delete(e.id, e.version) for e in entries if e.digest is None]
    ops += [Upsert(memory, b"") for memory in found.values()]
    there = mirrored(scope, embedder)
    ready = await with_vectors(embedder, ops)
    async with alone(room, place, store):
        outcomes = await store.call(there, partial(_apply, there, ready))
    for outcome in outcomes.values():
        if outcome.error is not None:
            raise outcome.error


async def _get(scope: Scope, ids: Sequence[str], driver: Driver) -> dict[str, Memory]:
    return dict(await driver.get(scope, ids))


async def _apply(scope: Scope, ops: Sequence[Op], driver: Driver) -> Mapping[str, Outcome]:
    return await driver.apply(scope, ops)


async def _drop(room: Room, source: Source, it: Spaces) -> None:
    """Remove what is left of the space that the source has moved out of, once nobody can be reading it."""
    if await clock(room.journal) // 1000 < it.at + GRACE_MS:
        return
    if not await all_know(room.journal, source.name, it.epoch):
        return
    space = read(it.old)
    for place in await all_places(room):
        if place.source.name == source.name:
            scope = replace(place.scope, space=space)
            for store in source.stores:
                await store.call(scope, partial(_purge, scope), timeout=PURGE_SECONDS)
            for store in source.retired:
                await _purge_retired(store, scope)
    await dropped(room.journal, source.name, it.old)
    log.warning("source %s: the space of %s is dropped", source.name, space.model)


async def _purge_retired(store: Store, scope: Scope) -> None:
    """As far as it answers: a driver that was let go may never do so again."""
    try:
        await store.call(scope, partial(_purge, scope), timeout=PURGE_SECONDS)
    except MemrelayError as error:
        log.warning(
            "driver %s, which is retired, keeps what it has of %s by %s: %s",
            store.name,
            scope.source,
            scope.space.model,
            error,
        )


async def _purge(scope: Scope, driver: Driver) -> None:
    await driver.purge(scope)
