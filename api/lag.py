"""Lag: what a driver still holds although it was deleted or given to another user."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from uuid import uuid4

from backends.journal import Hidden, Journal
from backends.journal.journal import DELETES
from backends.journal.spaces import know, leave
from backends.sources import Sources
from memrelay.errors import ConfigError, MemrelayError, Unavailable

log = logging.getLogger("memrelay.api")
LOOK_SECONDS = 1.0
BRIEF_SECONDS = 0.1
"""How long a look may take while the journal hangs: the searches go on without it."""

WATCH_SECONDS = 1.0
WATCHED = 32
"""Namespaces that are looked at without being asked for: those of the last searches and reads."""

Place = tuple[str, str, str]
"""Namespace, source and driver."""


class Lag:
    """One look at the journal after each answer of a driver. Of one process.

    So that it is known what was so when the journal went, the drivers of ``home`` and of the namespaces that
    were read last are looked at every second besides, and so is who they are; and the journal tells of every
    delete when it takes it in.
    """

    def __init__(self, journal: Journal, sources: Sources, home: str) -> None:
        self._journal = journal
        self._sources = sources
        self._home = home
        self._others: dict[str, None] = {}
        """Watched as well, the one that was read last at the end."""
        self._id = uuid4().hex
        self._said = ""
        self._settled: dict[tuple[str, str], set[str]] = {}
        """The drivers of each namespace and source that had nothing to delete when last looked at."""
        self._hangs = False
        self._tasks = [
            asyncio.create_task(self._watch(), name="lag"),
            asyncio.create_task(self._hear(), name="deletes"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(MemrelayError):
            await leave(self._journal, self._id)

    async def _watch(self) -> None:
        while True:
            await self._learn()
            for place in self._places():
                with contextlib.suppress(MemrelayError):
                    await self._look(place, (), seconds=2 * LOOK_SECONDS)
            await asyncio.sleep(WATCH_SECONDS)

    async def _learn(self) -> None:
        """Who the drivers are and in which space the sources; others are told from when on that is known."""
        try:
            await self._sources.look(self._journal)
        except ConfigError as error:  # a model that others have and this process has not
            if str(error) != self._said:
                log.error("%s", error)
            self._said = str(error)
        except MemrelayError:
            return
        epochs = {name: it.spaces.epoch for name, it in self._sources.by_name.items()}
        with contextlib.suppress(MemrelayError):
            await know(self._journal, self._id, epochs)

    def _places(self) -> list[Place]:
        return [
            (namespace, source.name, store.name)
            for namespace in (self._home, *self._others)
            for source in self._sources.by_name.values()
            for store in source.stores
        ]

    def _watch_also(self, namespace: str) -> None:
        """Of one that is watched no more nothing is known: it could miss a delete."""
        if namespace == self._home:
            return
        self._others.pop(namespace, None)
        self._others[namespace] = None
        if len(self._others) > WATCHED:
            gone = next(iter(self._others))
            del self._others[gone]
            for source in self._sources.by_name:
                self._settled.pop((gone, source), None)

    async def _hear(self) -> None:
        async for told in self._journal.listen(DELETES):
            namespace, _, source = told.decode().rpartition("|")
            self.expect(namespace, source)

    async def look(self, place: Place, ids: Sequence[str], *, seconds: float) -> Hidden | None:
        """What to leave out of an answer in which ``ids`` were found; None without the journal.

        Raises ``Unavailable`` if the driver may not serve: it is detached, or the journal cannot say
        what it has not deleted yet and there was something when it last could, or it never could.
        """
        self._watch_also(place[0])
        return await self._look(place, ids, seconds=seconds)

    async def _look(self, place: Place, ids: Sequence[str], *, seconds: float) -> Hidden | None:
        settled = self._settled.setdefault(place[:2], set())
        bound = min(BRIEF_SECONDS if self._hangs else LOOK_SECONDS, seconds / 2)
        try:
            async with asyncio.timeout(bound):
                hidden = await self._journal.hidden(*place, ids)
        except (MemrelayError, TimeoutError) as error:
            self._hangs = isinstance(error, TimeoutError)
            if place[2] not in self._settled.get(place[:2], ()):
                raise Unavailable(
                    f"driver {place[2]} has deletes to apply, and the journal cannot say which",
                    code="deletes_unknown",
                ) from None
            return None
        self._hangs = False
        if hidden.detached or hidden.lag or hidden.scoped:
            settled.discard(place[2])
        else:
            settled.add(place[2])  # in vain, if a delete was accepted since we asked
        if hidden.detached:
            raise Unavailable(f"driver {place[2]} is not in sync yet", code="detached")
        return hidden

    def expect(self, namespace: str, source: str) -> None:
        """A delete was accepted: no driver of the source has applied it, until a look says otherwise."""
        self._settled.pop((namespace, source), None)
