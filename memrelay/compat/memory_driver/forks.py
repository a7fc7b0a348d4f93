"""Forks wait for work that is under way: libraries in C have locks that no child can ever open again.

SQLite's allocator is one: a child that was forked while another thread was in it never got past its first
call (measured).
"""

from __future__ import annotations

import concurrent.futures.thread
import logging
import os
import threading

LOCKED_AT_FORK = (concurrent.futures.thread, logging)
"""Their locks are taken before a fork too, by what they registered. Imported before ours is registered, they
come after it: work that is waited for may need them."""

PATIENCE = 60.0
"""Seconds that a fork waits at most; every call of a driver has a deadline well below."""


class _Mine(threading.local):
    """How deep the thread that looks is inside; drivers call drivers."""

    depth = 0


class AtWork:
    """A context for what must not be forked in the midst of. Threads may be inside at the same time."""

    def __init__(self) -> None:
        self._mine = _Mine()
        self._reset()
        os.register_at_fork(
            before=self._close, after_in_parent=self._open, after_in_child=self._reset
        )

    def __enter__(self) -> None:
        if self._mine.depth == 0:
            with self._door:
                self._door.wait_for(lambda: not self._forking)
                self._inside += 1
        self._mine.depth += 1

    def __exit__(self, *_: object) -> None:
        self._mine.depth -= 1
        if self._mine.depth == 0:
            with self._door:
                self._inside -= 1
                self._door.notify_all()

    def _close(self) -> None:
        own = 1 if self._mine.depth else 0
        with self._door:
            self._forking += 1
            self._door.wait_for(lambda: self._inside <= own, PATIENCE)

    def _open(self) -> None:
        with self._door:
            self._forking -= 1
            self._door.notify_all()

    def _reset(self) -> None:
        self._door = threading.Condition()
        self._inside = 1 if self._mine.depth else 0
        self._forking = 0


at_work = AtWork()
"""Of this process: every call of a driver of ours is inside."""
