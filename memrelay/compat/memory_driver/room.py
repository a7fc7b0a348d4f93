"""An event loop in a thread of its own, for callers that have none: many threads, forks, and the exit."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from weakref import WeakSet

from memrelay.compat.memory_driver.forks import at_work
from memrelay.errors import Unavailable


class Resident(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


class _Loop:
    """One loop and its thread. A daemon: it keeps no interpreter from ending."""

    def __init__(self) -> None:
        self.guests = 0
        """Threads that are at work on it; the room's lock guards it."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="memory-driver", daemon=True
        )
        self._thread.start()

    def run[R](self, work: Coroutine[Any, Any, R]) -> R:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C comes to the thread that waits: let the work end too
            raise

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Room[R: Resident]:
    """Makes and opens a resident on a loop of its own when first asked, and runs work on it.

    After ``close`` the next call makes a new one, and so does the first in a forked child: what the parent
    holds is left untouched there, since both share its connections. Without ``forks`` such a child gets
    ``Unavailable``: its client would hang.
    """

    def __init__(self, make: Callable[[], R], *, forks: bool = True) -> None:
        self._make = make
        self._forks = forks
        self._door = threading.Condition()
        self._current: tuple[_Loop, R] | None = None
        self._left: object = None
        _rooms.add(self)

    def run[T](self, work: Callable[[R], Coroutine[Any, Any, T]]) -> T:
        with at_work:
            loop, resident = self._entered()
            try:
                return loop.run(work(resident))
            finally:
                with self._door:
                    loop.guests -= 1
                    self._door.notify_all()

    def close(self) -> None:
        """Returns when all work has ended that was under way."""
        with self._door:
            current, self._current = self._current, None
            if current is None:
                return
            loop, resident = current
            self._door.wait_for(lambda: loop.guests == 0)
        with at_work:
            try:
                loop.run(resident.close())
            finally:
                loop.end()

    def _entered(self) -> tuple[_Loop, R]:
        with self._door:
            if self._left is not None and not self._forks:
                raise Unavailable(
                    "this driver's client does not survive a fork: let its first call come after it",
                    code="forked",
                )
            if self._current is None:
                self._current = self._opened()
            self._current[0].guests += 1
            return self._current

    def _opened(self) -> tuple[_Loop, R]:
        loop = _Loop()
        try:
            resident = self._make()
            loop.run(resident.open())
        except BaseException:
            loop.end()
            raise
        return loop, resident

    def _forked(self) -> None:
        """In the child. Another thread of the parent may have held the lock; its end never comes here."""
        self._door = threading.Condition()
        if self._current is not None:
            self._left = (self._left, self._current)  # never finalized here
        self._current = None


_rooms: WeakSet[Room[Any]] = WeakSet()


def _all_forked() -> None:
    for room in list(_rooms):
        room._forked()


os.register_at_fork(after_in_child=_all_forked)
