"""A survey of the whole service, out of its journal: what every API tells alike in its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from backends.journal import Journal
from backends.journal.alarms import alarms
from backends.journal.errors import translated
from backends.journal.journal import PREFIX
from backends.journal.pending import oldest
from backends.journal.pulse import Pulse, pulse
from backends.journal.sync import DriverState, states
from backends.journal.totals import totals
from backends.journal.usage import clock
from memrelay.jobs import queue_names, store_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """``totals`` by the names of ``totals.py``; ``postponed`` and ``ages`` (seconds) by driver; ``used`` are
    memories and bytes that count for backpressure, ``redis_bytes`` the journal's memory."""

    totals: Mapping[str, int]
    pulse: Pulse
    states: Mapping[str, DriverState]
    postponed: Mapping[str, int]
    ages: Mapping[str, float]
    waiting: Mapping[str, int]
    alarms: Sequence[str]
    used: tuple[int, int]
    redis_bytes: int


async def survey(journal: Journal, drivers: Sequence[str]) -> Survey:
    """Raises ``Unavailable`` without the journal."""
    first, now = await oldest(journal, drivers), await clock(journal)
    queues = queue_names(drivers)
    with translated():
        async with journal.client.pipeline(transaction=False) as pipe:
            pipe.hmget(f"{PREFIX}waiting", queues)
            pipe.hmget(f"{PREFIX}backlog", [store_queue(driver) for driver in drivers])
            pipe.hmget(f"{PREFIX}use", ["memories", "bytes"])
            pipe.info("memory")
            waiting, postponed, used, memory = await pipe.execute()
    return Survey(
        totals=await totals(journal),
        pulse=await pulse(journal),
        states=await states(journal, drivers),
        postponed=dict(zip(drivers, _numbers(postponed), strict=True)),
        ages={driver: (now - at) / 1e6 for driver, at in first.items()},
        waiting=dict(zip(queues, _numbers(waiting), strict=True)),
        alarms=list(await alarms(journal)),
        used=cast(tuple[int, int], tuple(_numbers(used))),
        redis_bytes=int(memory["used_memory"]),
    )


def _numbers(values: Sequence[bytes | None]) -> list[int]:
    return [max(0, int(value or 0)) for value in values]
