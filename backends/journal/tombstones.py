"""Which tombstones nothing older is left for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal


async def collectable(journal: Journal, places: Iterable[str], before: int) -> int:
    """The version below which tombstones of ``places`` may go, at most ``before``; 0 while a driver is
    detached, or has not everything of one of their sources yet."""
    pairs = [place.rpartition("|") for place in places]
    sources = {source for _, _, source in pairs}
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.hlen(f"{PREFIX}detached")
            for source in sources:
                pipe.hvals(f"{PREFIX}members:{source}")
            pipe.zrange(f"{PREFIX}open", 0, 0)
            for namespace in {namespace for namespace, _, _ in pairs}:
                pipe.zrange(f"{PREFIX}dls:{namespace}", 0, 0)
            detached, *rows = await pipe.execute()
    members, oldest = rows[: len(sources)], rows[len(sources) :]
    if detached or any(state in (b"away", b"syncing") for states in members for state in states):
        return 0
    return min([before, *(int(row[0]) for row in oldest if row)])


async def collected(journal: Journal, before: int, places: Sequence[str]) -> None:
    """Tombstones below ``before`` are going; the deletes by filter of ``places`` go here and now."""
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.set(f"{PREFIX}collected", before)
            for place in places:
                pipe.zremrangebyscore(f"{PREFIX}st:{place}", "-inf", f"({before}")
            await pipe.execute()


async def forgotten(journal: Journal) -> int:
    """Tombstones below this version may be gone."""
    with translated():
        return int(await journal.client.get(f"{PREFIX}collected") or 0)
