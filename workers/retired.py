"""Retired: what is still open for a driver that this installation does not have any more is ended.

Where another driver has it all: until then it waits. What is still configured has a queue of its own.
"""

from __future__ import annotations

from backends.journal.members import members
from memrelay.jobs import store_queue
from workers.deliver import deliver
from workers.room import Room

CLAIMS = 200
"""At most, in one turn."""


async def end_retired(room: Room) -> None:
    known = await members(room.journal, room.sources.by_name)
    gone = {
        driver
        for source in known.values()
        for driver, state in source.states.items()
        if state == "retired" and driver not in room.sources.stores
    }
    for driver in gone:
        for _ in range(CLAIMS):
            if not await deliver(room, store_queue(driver)):
                break
