"""The API keys that one process knows: looked up in the journal, and believed for a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from api.problems import refused
from backends.journal import Journal
from backends.journal.apikeys import Held, locked, look_up
from memrelay.apikeys import SCOPES, digest, parse_token, same
from memrelay.errors import MemrelayError, Unavailable

log = logging.getLogger("memrelay.api")
FRESH_SECONDS = 3.0
"""How long a key is believed before it is looked up again: with the look-up, one that was revoked is good
for less than 5 s."""
GRACE_SECONDS = 900.0
"""How long a key that was known goes on for reads while the journal cannot be asked."""
LOOK_SECONDS = 1.0
BRIEF_SECONDS = 0.1
"""How long a look-up may take while the journal hangs."""
AGAIN_SECONDS = 1.0
"""A journal that has failed is not asked about known keys for so long."""
WATCH_SECONDS = 1.0
MOST_KEYS = 10_000
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do. ``key_id`` is ``""`` while no key is asked for.

    ``sure`` is False once the journal cannot be asked: then it is for reads alone.
    """

    namespace: str
    scopes: frozenset[str]
    key_id: str
    sure: bool = True

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True, slots=True)
class _Known:
    held: Held
    grant: Grant
    looked_at: float

    def good(self, now: float) -> bool:
        """Not expired: told by how long ago we looked, not by the time of day."""
        return self.held.left is None or now < self.looked_at + self.held.left


class Keyring:
    """Of one process. While it is not ``locked`` nobody needs a key; once it is, it stays so."""

    def __init__(
        self,
        journal: Journal,
        home: str,
        *,
        admin_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._admin = digest(admin_key) if admin_key else ""
        self._operator = Grant(home, frozenset(SCOPES), OPERATOR)
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[Held | MemrelayError | None]] = {}
        self._failed_at = -AGAIN_SECONDS
        self._hangs = False
        self.locked = bool(self._admin)
        self.everybody = Grant(home, frozenset(SCOPES), "")
        """What callers may do while no key is asked for."""
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn whether there are keys, and go on looking for the first one."""
        self.locked = self.locked or await locked(self._journal)
        if not self.locked:
            self._watcher = asyncio.create_task(self._watch(), name="keyring")

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def _watch(self) -> None:
        while not self.locked:
            await asyncio.sleep(WATCH_SECONDS)
            with contextlib.suppress(MemrelayError, TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    self.locked = await locked(self._journal)
        log.info("there is an API key: nobody is answered without one from now on")

    async def grant(self, text: str) -> Grant | None:
        """Of a key as a caller shows it; None if it is not good (any more).

        Raises ``Unavailable`` if that cannot be said: the journal cannot be asked, and the key is not
        one that was known lately.
        """
        if self._admin and same(digest(text), self._admin):
            return self._operator
        token = parse_token(text)
        if token is None:
            return None
        known = await self._look(token.id)
        if known is None or not same(known.held.digest, token.digest):
            return None
        now = self._clock()
        if not known.good(now):
            return None
        fresh = now - known.looked_at <= FRESH_SECONDS
        return known.grant if fresh else replace(known.grant, sure=False)

    async def check(self, grant: Grant) -> None:
        """Raise 401 if what was granted has ended since, for what goes on for long."""
        if not await self.holds(grant):
            raise refused("The API key is good no more.")

    async def holds(self, grant: Grant) -> bool:
        """Whether what was granted still is."""
        if grant.key_id == OPERATOR or not self.locked:
            return True
        known = await self._look(grant.key_id) if grant.key_id else None
        return known is not None and known.good(self._clock())

    async def during[T](self, grant: Grant, events: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """The events, as long as what was granted is."""
        async with aclosing(events):
            async for event in events:
                try:
                    held = await self.holds(grant)
                except Unavailable:
                    held = False
                if not held:
                    return
                yield event

    async def _look(self, id: str) -> _Known | None:
        """The key, asked for if we have not looked lately."""
        known, now = self._known.get(id), self._clock()
        if known is not None and now - known.looked_at <= FRESH_SECONDS:
            return known
        if known is None or now - self._failed_at > AGAIN_SECONDS:
            answer = await self._ask(id)
            if not isinstance(answer, MemrelayError):
                return self._keep(id, answer, now)
            if known is None:
                raise answer
        if now - known.looked_at > GRACE_SECONDS:
            raise Unavailable("the journal cannot say whether the API key is still good")
        return known

    def _keep(self, id: str, held: Held | None, asked_at: float) -> _Known | None:
        """Only keys that are good are kept, so that made-up ones crowd nobody out."""
        self._known.pop(id, None)
        if held is None:
            return None
        if len(self._known) >= MOST_KEYS:
            del self._known[next(iter(self._known))]
        grant = Grant(held.namespace, held.scopes, id)
        known = self._known[id] = _Known(held, grant, asked_at)
        return known

    async def _ask(self, id: str) -> Held | MemrelayError | None:
        """One question for all who wait for it."""
        task = self._asking.get(id)
        if task is None:
            task = self._asking[id] = asyncio.create_task(self._asked(id), name="key")
            task.add_done_callback(lambda _: self._asking.pop(id, None))
        return await asyncio.shield(task)

    async def _asked(self, id: str) -> Held | MemrelayError | None:
        try:
            async with asyncio.timeout(BRIEF_SECONDS if self._hangs else LOOK_SECONDS):
                held = await look_up(self._journal, id)
        except (MemrelayError, TimeoutError) as error:
            self._failed_at = self._clock()
            self._hangs = isinstance(error, TimeoutError)
            return Unavailable("the journal cannot be asked about the API key", retry_after=1.0)
        self._hangs = False
        return held
