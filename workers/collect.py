"""Collect: tombstones are removed for good when nothing is left that is older than they are."""

from __future__ import annotations

from backends.journal.tombstones import collectable, collected
from backends.journal.usage import clock
from memrelay.driver import Driver
from memrelay.errors import MemrelayError
from memrelay.types import Scope
from workers.peers import Place, all_places, alone
from workers.room import Room

KEEP_US = 7 * 86_400_000_000
"""Microseconds that a tombstone is kept at the least; versions are times of acceptance."""
AT_ONCE = 512


async def collect(room: Room, *, keep_us: int = KEEP_US) -> None:
    """Nothing is collected while a driver is detached, nor above the oldest envelope or dead letter."""
    places = await all_places(room)
    names = [place.name for place in places]
    before = await collectable(room.journal, names, await clock(room.journal) - keep_us)
    if before <= 0:
        return
    # What reconcile may miss from now on is said first: a pass must not take it for a loss.
    await collected(room.journal, before, names)
    for place in places:
        await _collect(room, place, before)


async def _collect(room: Room, place: Place, before: int) -> None:
    scope = place.scope
    for store in place.source.stores:
        try:
            gone = AT_ONCE
            while gone == AT_ONCE:
                async with alone(room, place, store):
                    gone = await store.call(scope, lambda driver: _some(driver, scope, before))
        except MemrelayError:
            continue  # a driver that is away keeps its tombstones until the next time


async def _some(driver: Driver, scope: Scope, before: int) -> int:
    return await driver.collect(scope, before=before, limit=AT_ONCE)
