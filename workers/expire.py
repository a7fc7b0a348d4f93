"""Expire: a memory whose time is over becomes a tombstone at its own version, in every driver."""

from __future__ import annotations

from collections.abc import Sequence

from backends.journal.locks import next_number
from backends.journal.usage import clock
from memrelay.driver import Driver
from memrelay.errors import MemrelayError
from memrelay.types import Delete, Scope
from workers.peers import Place, all_places, peers_of
from workers.room import Room

PLACES = 50
"""Looked at in one turn; the others come next."""
AT_ONCE = 512
PAGES = 20


async def expire(room: Room) -> None:
    known = await all_places(room)
    turns = -(-len(known) // PLACES)
    if turns:
        turn = await next_number(room.journal, "expire") % turns
        for place in known[turn * PLACES : (turn + 1) * PLACES]:
            await _expire(room, place)


async def _expire(room: Room, place: Place) -> None:
    scope = place.scope
    now = await clock(room.journal)  # not this machine's: what expires early is lost
    for peer in peers_of(room, place):
        try:
            for _ in range(PAGES):
                gone = await peer.call(scope, lambda driver: _expired(driver, scope, now))
                if gone:
                    await peer.write(scope, gone)
                if len(gone) < AT_ONCE:
                    break
        except MemrelayError:
            continue  # reads leave out what has expired, whether or not it is a tombstone


async def _expired(driver: Driver, scope: Scope, now: int) -> Sequence[Delete]:
    return await driver.expired(scope, now=now, limit=AT_ONCE)
