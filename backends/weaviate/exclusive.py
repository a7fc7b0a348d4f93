"""One writer for each key: Weaviate cannot compare and set, so this process must not race with itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Set
from contextlib import contextmanager


class Exclusive[K]:
    """Sets of keys that are held, for the tasks of one event loop."""

    def __init__(self) -> None:
        self._held: set[K] = set()
        self._waiting: set[asyncio.Future[None]] = set()

    async def acquire(self, keys: Set[K]) -> None:
        """Wait until nobody holds any of ``keys``, then take them all at once: no deadlock."""
        while not self._held.isdisjoint(keys):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.add(turn)
            try:
                await turn
            finally:
                self._waiting.discard(turn)
        self._held |= keys

    @contextmanager
    def releasing(self, keys: Set[K]) -> Iterator[None]:
        """Give acquired ``keys`` back in the end."""
        try:
            yield
        finally:
            self._held -= keys
            for turn in self._waiting:
                if not turn.done():
                    turn.set_result(None)
