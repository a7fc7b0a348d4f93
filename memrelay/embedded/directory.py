"""Who may use a data directory: one ``up`` at a time, and none while an earlier one's processes still end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from memrelay.embedded.child import Say
from memrelay.errors import ConfigError

PREVIOUS_SECONDS = 90.0
POLL_SECONDS = 0.05


@contextmanager
def held(data: Path) -> Iterator[None]:
    """``data`` for this process alone, as long as it lives; ``ConfigError`` if another has it."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise ConfigError(f"{data}: {error.strerror}; give --data another directory") from None
    try:
        if not _taken(lock):
            owner = os.pread(lock, 20, 0).decode().strip()
            raise ConfigError(
                f"another memrelay up (process {owner}) runs in {data}: stop it, "
                "or give --data another directory"
            )
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


@asynccontextmanager
async def held_by_all(data: Path, say: Say) -> AsyncIterator[int]:
    """A lock for all children to inherit; waits for those of an ``up`` that was killed to end."""
    lock = os.open(data / "alive", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        deadline = time.monotonic() + PREVIOUS_SECONDS
        told = False
        while not _taken(lock):
            if not told:
                say("up", "waiting for the processes of the last one to end")
                told = True
            if time.monotonic() > deadline:
                raise ConfigError(f"processes of an earlier memrelay up still run in {data}")
            await asyncio.sleep(POLL_SECONDS)
        yield lock
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
