"""The recheck list: what a store may not have as it should, for some seconds after it was written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import LEASE_MS, PREFIX, Journal
from backends.journal.usage import clock

TAKEN_MS = 15_000
"""How far back a kill may reach, and the time until somebody notices it."""
WAIT_MS = 2 * LEASE_MS
"""By then whoever lost its lease has ended its work, or it has been ended."""


async def note(journal: Journal, place: str, ids: Sequence[str]) -> None:
    """Put ids of ``place`` (``namespace|source|driver``) on the list."""
    if not ids:
        return
    at = await clock(journal) // 1000 + WAIT_MS
    due = {f"{place}|{id}": at for id in ids}
    with translated():
        await journal.client.zadd(f"{PREFIX}recheck", due)


async def took(journal: Journal, store: str, place: str, ids: Sequence[str]) -> None:
    """``store``, which may lose the last of what it took when it is killed, has acknowledged ``ids``."""
    if not ids:
        return
    now_ms = await clock(journal) // 1000
    key = f"{PREFIX}taken:{store}"
    with translated():
        async with journal.client.pipeline(transaction=False) as pipe:
            pipe.zadd(key, {f"{place}|{id}": now_ms for id in ids})
            pipe.zremrangebyscore(key, "-inf", now_ms - TAKEN_MS)
            await pipe.execute()


async def doubt(journal: Journal, store: str) -> None:
    """``store`` has failed: what anybody has lately written to it goes on the list."""
    key = f"{PREFIX}taken:{store}"
    now_ms = await clock(journal) // 1000
    with translated():
        found = await journal.client.zrangebyscore(key, now_ms - TAKEN_MS, "+inf")
        if found:
            members = dict.fromkeys(cast(Sequence[bytes], found), now_ms + WAIT_MS)
            await journal.client.zadd(f"{PREFIX}recheck", members)


async def due(journal: Journal, limit: int) -> dict[str, list[str]]:
    """Ids by place that are to be looked at now; they stay on the list until ``done``."""
    now_ms = await clock(journal) // 1000
    with translated():
        found = await journal.client.zrangebyscore(
            f"{PREFIX}recheck", "-inf", now_ms, start=0, num=limit
        )
    places: dict[str, list[str]] = {}
    for member in cast(Sequence[bytes], found):
        namespace, source, driver, id = member.decode().split("|", 3)
        places.setdefault(f"{namespace}|{source}|{driver}", []).append(id)
    return places


async def done(journal: Journal, place: str, ids: Sequence[str]) -> None:
    with translated():
        await journal.client.zrem(f"{PREFIX}recheck", *(f"{place}|{id}" for id in ids))
