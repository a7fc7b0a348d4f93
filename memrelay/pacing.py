"""Pacing: while single writes are in a hurry, bulk work takes a share of its process's time and no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

LONGEST_REST = 1.0
"""Seconds; a store that takes half a minute over its turn is not left alone for minutes."""


class Pace:
    """The turns of one process and event loop at bulk work.

    After a turn the next one waits until turns make ``share`` of the time; if ``hurried`` says so when it
    comes, else it begins at once. Turns may overlap. ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        hurried: Callable[[], bool],
        *,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._hurried = hurried
        self._share = share
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0

    @property
    def hurried(self) -> bool:
        """Whether turns are to be short: single writes wait for the one that is under way to end."""
        return self._share < 1 and self._hurried()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it."""
        rest = self._next - self._clock()
        if rest > 0 and self.hurried:
            await self._sleep(rest)
        began = self._clock()
        try:
            yield
        finally:
            ended = self._clock()
            took = ended - began
            rest = min(took / self._share - took, LONGEST_REST)
            self._next = max(self._next, ended + rest)
