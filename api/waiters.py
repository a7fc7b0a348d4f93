"""Waiting for jobs: one channel for each API process wakes those whose envelopes have settled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from uuid import uuid4

from backends.journal import Journal
from backends.journal.jobs import ranges_of, read_job, watch
from memrelay.jobs import Job

RECHECK = 1.0
LOOKED_THROUGH = 200_000
"""Memories a second that one who waits has looked through, at most: a large import has thousands of parts,
and all of them are read for each look."""


def rest(memories: int) -> float:
    """Seconds between two looks at a job of so many."""
    return memories / LOOKED_THROUGH


class Waiters:
    """Callers that wait for a job to get somewhere."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._channel = f"mrj:api:{uuid4().hex}"
        self._waiting: dict[asyncio.Event, tuple[int, int]] = {}
        self._task = asyncio.create_task(self._listen(), name="waiters")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def wait(
        self, namespace: str, id: str, until: Callable[[Job], bool], timeout: float
    ) -> Job | None:
        """The job once ``until`` holds of it, or as it is after ``timeout`` seconds; None if unknown."""
        ranges = await ranges_of(self._journal, namespace, id)
        if not ranges:
            return None
        pause = min(rest(sum(part.count for part in ranges)), timeout / 2)
        event = asyncio.Event()
        self._waiting[event] = (ranges[0].first - 512, ranges[-1].first + ranges[-1].count)
        try:
            job = await watch(self._journal, namespace, id, self._channel)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while job is not None and not until(job):
                        await asyncio.sleep(pause)
                        await _either(event, RECHECK)
                        event.clear()
                        job = await read_job(self._journal, namespace, id)
            return job
        finally:
            del self._waiting[event]

    async def _listen(self) -> None:
        """A lost connection costs a waiter ``RECHECK`` seconds, no more."""
        async for eid in self._journal.listen(self._channel):
            self._wake(int(eid))

    def _wake(self, eid: int) -> None:
        for event, (first, last) in self._waiting.items():
            if first <= eid <= last:
                event.set()


async def _either(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
