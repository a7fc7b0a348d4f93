"""Locks in the journal: one holder of a name at a time, for as long as its token is renewed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal, script
from memrelay.errors import Transient, Unavailable

POLL = 0.01
WAIT = 2.0


class Busy(Transient):
    """Somebody else holds the lock."""

    code = "busy"


class Locks:
    """Of one process. ``held`` is what its lease keeper renews: name to token."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._release = journal.client.register_script(script("release"))
        self.held: dict[str, str] = {}

    @asynccontextmanager
    async def hold(self, name: str, token: str, *, wait: float = WAIT) -> AsyncIterator[None]:
        """Hold ``name``, once it can be had; ``Busy`` after ``wait`` seconds.

        After a call that was broken off, which may still be going on in the store, the lock is not
        given back: it ends by itself.
        """
        until = time.monotonic() + wait
        while not await self._take(name, token):
            if time.monotonic() > until:
                raise Busy(f"another worker is at {name}", retry_after=0.1)
            await asyncio.sleep(POLL)
        self.held[name] = token
        try:
            yield
        except (asyncio.CancelledError, Unavailable) as error:
            del self.held[name]
            if isinstance(error, Unavailable) and error.code != "timeout":
                await self._give_back(name, token)
            raise
        except BaseException:
            del self.held[name]
            await self._give_back(name, token)
            raise
        del self.held[name]
        await self._give_back(name, token)

    async def _take(self, name: str, token: str) -> bool:
        with translated():
            return bool(
                await self._journal.client.set(
                    f"{PREFIX}lk:{name}", token, nx=True, px=self._journal.lease_ms
                )
            )

    async def _give_back(self, name: str, token: str) -> None:
        """Without the journal it ends by itself; what was done under it is done."""
        with suppress(Unavailable), translated():
            await self._release(keys=[PREFIX], args=[token, 0, name])


async def take_turn(journal: Journal, name: str, seconds: float) -> bool:
    """Whether it is time for ``name`` again; True for one caller in so many seconds."""
    with translated():
        return bool(
            await journal.client.set(f"{PREFIX}turn:{name}", "1", nx=True, px=int(1000 * seconds))
        )


async def next_number(journal: Journal, name: str) -> int:
    """1, 2, 3 …: where those who share a round go on."""
    with translated():
        return int(await journal.client.incr(f"{PREFIX}round:{name}"))
