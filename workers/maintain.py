"""Maintain: what has to be done for no envelope, each kind by one worker at a time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from uuid import uuid4

from backends.journal.locks import Busy, take_turn
from backends.logs import loggable
from memrelay.errors import MemrelayError
from workers.collect import collect
from workers.expire import expire
from workers.recheck import recheck
from workers.reembed import reembed
from workers.retired import end_retired
from workers.room import Room
from workers.sync import sync

log = logging.getLogger("memrelay.worker")

Step = Callable[[Room], Awaitable[None]]
STEPS: dict[str, tuple[Step, float]] = {
    "sync": (sync, 1.0),
    "expire": (expire, 5.0),
    "recheck": (recheck, 5.0),
    "retired": (end_retired, 5.0),
    "reembed": (reembed, 1.0),
    "collect": (collect, 600.0),
}
"""With the seconds from one turn to the next."""


async def maintain(room: Room, queue: str) -> int:
    """Whatever is due; how many steps that were."""
    done = 0
    for name, (step, seconds) in STEPS.items():
        if await take_turn(room.journal, f"maintain:{name}", seconds):
            done += await _run(room, name, step)
    return done


async def _run(room: Room, name: str, step: Step) -> int:
    try:
        async with room.locks.hold(f"maintain:{name}", uuid4().hex, wait=0):
            await room.sources.look(room.journal)
            await step(room)
    except Busy:
        return 0
    except MemrelayError as error:
        log.warning("%s goes on later: %s", name, loggable(error))
    return 1
