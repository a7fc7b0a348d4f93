"""Patience: a process that an operator has started outlives a journal or a store that is away for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from memrelay.errors import Transient

SECONDS = 120.0
PAUSE = 0.5


async def patiently[T](
    ask: Callable[[], Awaitable[T]], waits: Callable[[str], None], *, seconds: float = SECONDS
) -> T:
    """What ``ask`` answers at last. ``waits`` is told why it did not; after ``seconds`` its ``Transient`` is
    raised."""
    until = time.monotonic() + seconds
    while True:
        try:
            return await ask()
        except Transient as error:
            if time.monotonic() > until:
                raise
            waits(str(error))
        await asyncio.sleep(PAUSE)
