"""Signs of life: when each worker was last seen, and which queues have work on which nobody gets on.

A worker that is wedged still answers a ping; what it cannot do is settle what waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal

SEEN_SECONDS = 10.0
"""A worker beats once a second; one not seen for so long is dead or frozen."""
STALLED_SECONDS = 60.0
FORGET_SECONDS = 3600.0


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's sign of life; ``at`` in milliseconds of the journal's clock.

    ``spaces``: it knows of them, and of members. One of an earlier release does not. ``version`` is
    memrelay's; empty in one that is older than this field.
    """

    host: str
    pid: int
    queues: list[str]
    at: int
    spaces: bool = False
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """``workers``: seconds since each was seen, by ``host:pid``. ``stalled``: seconds that a queue has
    stood still although work waits on it. ``earlier``: those of an earlier release. ``queues``: which ones
    each works on. ``versions`` as in ``Beat``."""

    workers: Mapping[str, float]
    stalled: Mapping[str, float]
    earlier: Collection[str] = ()
    queues: Mapping[str, Collection[str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> list[str]:
        return [name for name, seconds in self.workers.items() if seconds <= SEEN_SECONDS]

    def alive_on(self, queue: str) -> int:
        """How many of the living work on a queue."""
        return sum(queue in self.queues.get(name, ()) for name in self.alive)

    @property
    def refuses(self) -> str | None:
        """Why a source can get no new space or member for now: a worker that knows of neither would write as
        before. None if it can."""
        earlier = sorted(set(self.alive).intersection(self.earlier))
        if not earlier:
            return None
        return f"workers of an earlier release are running: upgrade {', '.join(earlier)} first"


async def pulse(journal: Journal) -> Pulse:
    """How the workers are. Raises ``Unavailable`` without the journal."""
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.hgetall(f"{PREFIX}workers")
            pipe.hgetall(f"{PREFIX}since")
            pipe.hgetall(f"{PREFIX}progress")
            (seconds, micros), beats, since, progress = await pipe.execute()
    now_ms = 1000 * seconds + micros // 1000
    workers, earlier, queues, versions = {}, [], {}, {}
    for name, raw in cast(dict[bytes, bytes], beats).items():
        beat = msgspec.json.decode(raw, type=Beat)
        age = (now_ms - beat.at) / 1000
        if age < FORGET_SECONDS:
            workers[name.decode()] = age
            queues[name.decode()] = beat.queues
            versions[name.decode()] = beat.version
            earlier += [] if beat.spaces else [name.decode()]
    stalled = {}
    for queue, at in cast(dict[bytes, bytes], since).items():
        stood = (now_ms - max(int(at), int(progress.get(queue, 0)))) / 1000
        if stood > STALLED_SECONDS:
            stalled[queue.decode()] = stood
    return Pulse(
        workers=workers, stalled=stalled, earlier=earlier, queues=queues, versions=versions
    )
