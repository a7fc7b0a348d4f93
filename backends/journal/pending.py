"""Pending: which drivers have not ended which of the envelopes that are open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal
from memrelay.jobs import deliver_queue, store_queue
from memrelay.types import LANES

LOOKED_AT = 256
PAGE = 500


@dataclass(frozen=True, slots=True)
class Open:
    """An envelope, when it was accepted (microseconds), and those of the drivers that have to end it."""

    eid: int
    at: int
    drivers: frozenset[str]


async def oldest(journal: Journal, drivers: Sequence[str]) -> dict[str, int]:
    """When the oldest envelope was accepted that a driver has not ended, in microseconds, by driver.

    A driver is left out if the ``LOOKED_AT`` oldest that are open have nothing for it.
    """
    first: dict[str, int] = {}
    for envelope in await _open(journal, drivers, start=0, count=LOOKED_AT):
        for driver in envelope.drivers:
            first.setdefault(driver, envelope.at)
    return first


async def is_pending(journal: Journal, drivers: Sequence[str], *, below: int) -> bool:
    """Whether one of the drivers has still to end an envelope that was accepted before ``below``."""
    start = 0
    while True:
        page = await _open(journal, drivers, start=start, count=PAGE)
        for envelope in page:
            if envelope.eid >= below:
                return False
            if envelope.drivers:
                return True
        if len(page) < PAGE:
            return False
        start += PAGE


async def _open(journal: Journal, drivers: Sequence[str], *, start: int, count: int) -> list[Open]:
    stages = [*map(deliver_queue, LANES), *map(store_queue, drivers)]
    with translated():
        found = await journal.client.zrange(f"{PREFIX}open", start, start + count - 1)
        eids = [int(eid) for eid in cast(Sequence[bytes], found)]
        async with journal.client.pipeline(transaction=False) as pipe:
            for eid in eids:
                pipe.hmget(f"{PREFIX}e:{eid}", ["at", "d", *(f"s:{stage}" for stage in stages)])
            rows = await pipe.execute()
    envelopes = []
    for eid, (at, names, *states) in zip(eids, rows, strict=True):
        own = (names or b"").decode().split(",")
        delivering, storing = any(states[: len(LANES)]), states[len(LANES) :]
        left = {
            driver
            for driver, state in zip(drivers, storing, strict=True)
            if state or (delivering and driver in own)
        }
        envelopes.append(Open(eid, 1000 * int(at or 0), frozenset(left)))
    return envelopes
