"""Cancel: what no worker has claimed yet ends without being stored."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import KEEP_BODY_MS, KEEP_FAILED_MS, PREFIX, Journal, script
from memrelay.jobs import JobId

RANGES = 200
MEMORIES = 4096
"""Of one script call, about: nobody else is answered meanwhile."""


async def cancel(journal: Journal, namespace: str, ranges: Sequence[JobId]) -> list[int]:
    """How many memories of each range were canceled: those that no worker has claimed, but for deletes and
    what a replay brings. ``Unavailable`` as of ``Journal.append``."""
    run = journal.client.register_script(script("cancel"))
    counts: list[int] = []
    for part in _parts(ranges):
        numbers = [number for job in part for number in (job.first, job.count)]
        args: list[str | int] = [namespace, KEEP_BODY_MS, KEEP_FAILED_MS, *numbers]
        with translated():
            counts += cast(Sequence[int], await journal.held(run, args))
    return counts


def _parts(ranges: Sequence[JobId]) -> Iterator[list[JobId]]:
    part: list[JobId] = []
    memories = 0
    for job in ranges:
        if part and (len(part) == RANGES or memories + job.count > MEMORIES):
            yield part
            part, memories = [], 0
        part.append(job)
        memories += job.count
    if part:
        yield part


class Canceled:
    """Versions of one source that were canceled, as ranges in order; for ``in``."""

    def __init__(self, ranges: Sequence[tuple[int, int]] = ()) -> None:
        self._ranges = ranges

    def __contains__(self, version: object) -> bool:
        assert isinstance(version, int)
        at = bisect_right(self._ranges, version, key=lambda found: found[0]) - 1
        return at >= 0 and version < sum(self._ranges[at])


async def canceled(journal: Journal, namespace: str, source: str) -> Canceled:
    """The last ones; the journal keeps 100,000 ranges of them."""
    with translated():
        found = await journal.client.zrange(f"{PREFIX}canceled:{namespace}|{source}", 0, -1)
    pairs = [range.decode().split(":") for range in cast(Sequence[bytes], found)]
    return Canceled([(int(first), int(count)) for first, count in pairs])
