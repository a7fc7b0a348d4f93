"""``python -m backends.reembedding MODEL SOURCE [--empty | --cancel]``: a source gets another model.

The workers build the new space from the texts; this process asks for it and tells how far it is. Killed and
started again, it goes on. One line of JSON for each thing that it tells, ``{"progress": …}``, at last
``{"result": …}``. ``--empty``: what the drivers have in the new space already is removed before it is built.
``--cancel``: what is built is given up and dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from backends.journal import Journal
from backends.journal.pulse import pulse
from backends.journal.spaces import (
    REFUSED,
    NotNow,
    Spaces,
    begin,
    built,
    cancel,
    spaces,
    written,
)
from backends.journal.sync import places, states
from backends.journal.usage import clock
from backends.patience import patiently
from backends.process import run_process
from backends.reconcile.peer import peer_of, scan_page
from backends.sources import Source, Sources, enter_members, open_sources, too_large
from backends.store import Store
from memrelay.driver import Driver
from memrelay.errors import ConfigError
from memrelay.settings import load_settings
from memrelay.types import Scope, Space

LOOK_SECONDS = 0.5
PURGE_SECONDS = 60.0


class Reembedding:
    """One source and one model, as this process follows them."""

    def __init__(self, journal: Journal, sources: Sources, source: Source) -> None:
        self._journal = journal
        self._sources = sources
        self._source = source
        self._read = self._total = 0

    async def run(self, model: str, *, empty: bool = False) -> Mapping[str, Any]:
        """The result, once the source has moved. ``ConfigError`` or ``NotNow`` for what cannot be done.

        ``empty``: what drivers have in the new space is removed before it is built; else it is refused.
        """
        began = time.monotonic()
        space = await self._space(model)
        known = await self._spaces()
        if known.active != written(space):
            if (reason := (await self._ask(lambda: pulse(self._journal))).refuses) is not None:
                raise ConfigError(reason)
            if not known.building and (known.active or space != self._source.space):
                await self._make_room(space, known, empty=empty)
            await self._ask(
                lambda: begin(self._journal, self._source.name, space, self._source.space)
            )
            await self._follow(space)
        return {
            "source": self._source.name,
            "model": space.model,
            "dimensions": space.dimensions,
            "memories": self._read,
            "seconds": round(time.monotonic() - began, 1),
        }

    async def cancel(self) -> Mapping[str, Any]:
        given_up = await self._ask(lambda: cancel(self._journal, self._source.name))
        return {"source": self._source.name, "canceled": given_up}

    async def _space(self, model: str) -> Space:
        """The model's space, which every driver of the source can hold."""
        if self._source.embedder is None:
            raise ConfigError(f"callers bring the vectors of {self._source.name}: send them anew")
        embedder = await self._sources.embedder(self._source.name, model)
        for store in self._source.stores:
            if (reason := too_large(store, embedder.space.dimensions)) is not None:
                raise ConfigError(reason)
        return embedder.space

    async def _make_room(self, space: Space, known: Spaces, *, empty: bool) -> None:
        """Nothing is in the space, once that is removed if it may be. Until it is begun nobody writes there.

        What is there may have been deleted since in the others, and they have forgotten that.
        """
        if known.old:
            raise NotNow(REFUSED[-3].format(source=self._source.name))
        for namespace, name in await self._ask(lambda: places(self._journal)):
            scope = replace(self._source.scope(namespace), space=space)
            for store in self._source.stores if name == self._source.name else ():
                if empty:
                    await self._ask(partial(_purge, store, scope))
                elif (await self._ask(partial(scan_page, scope, peer_of(store), limit=1))).entries:
                    raise ConfigError(
                        f"{store.name} has memories of {name} by {space.model} already, from elsewhere "
                        "or from before: --empty removes them first"
                    )

    async def _follow(self, space: Space) -> None:
        """Until the source has moved to ``space``."""
        self._total = await self._count()
        while (known := await self._spaces()).active != written(space):
            if known.building != written(space):
                raise ConfigError(f"the space of {space.model} was given up meanwhile")
            done = await self._ask(lambda: built(self._journal, self._source.name))
            self._read = int(done.get("count", 0))
            self._show(await self._waits(known))
            await asyncio.sleep(LOOK_SECONDS)

    async def _waits(self, known: Spaces) -> str:
        """Why nothing goes on for now; empty if it does."""
        if known.error:
            return known.error
        if not (await self._ask(lambda: pulse(self._journal))).alive:
            return "no worker is running"
        names = [store.name for store in self._source.stores]
        away = [
            n
            for n, it in (await self._ask(lambda: states(self._journal, names))).items()
            if it.state
        ]
        return f"waits for {', '.join(away)} to serve" if away else ""

    async def _count(self) -> int:
        """About how many memories are to be embedded, in all drivers together."""
        now, total = await self._ask(lambda: clock(self._journal)), 0
        for namespace, name in await self._ask(lambda: places(self._journal)):
            scope = self._source.scope(namespace)
            for store in self._source.serving if name == self._source.name else ():
                total += await self._ask(partial(_count, store, scope, now))
        return total

    async def _spaces(self) -> Spaces:
        name = self._source.name
        return (await self._ask(lambda: spaces(self._journal, [name])))[name]

    async def _ask[T](self, ask: Callable[[], Awaitable[T]]) -> T:
        return await patiently(ask, self._show)

    def _show(self, waits: str) -> None:
        counts = {"read": self._read, "written": self._read, "total": self._total}
        _tell("progress", {"step": "embed", "waits": waits, **counts})


def _tell(kind: str, value: Mapping[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode({kind: value}).decode() + "\n")
    sys.stdout.flush()


async def _count(store: Store, scope: Scope, now: int) -> int:
    async def count(driver: Driver) -> int:
        return await driver.count(scope, None, now=now)

    return await store.call(scope, count)


async def _purge(store: Store, scope: Scope) -> None:
    await store.call(scope, lambda driver: driver.purge(scope), timeout=PURGE_SECONDS)


async def reembed(model: str, name: str, *, empty: bool, give_up: bool) -> None:
    settings = load_settings()
    journal = Journal(settings.journal_url)
    try:
        sources = await open_sources(settings, writes=False)  # but to spaces of nobody yet
        try:
            if name not in sources.by_name:
                raise ConfigError(f"there is no source {name}")
            await enter_members(journal, settings)
            await sources.look(journal)
            it = Reembedding(journal, sources, sources.by_name[name])
            _tell("result", await (it.cancel() if give_up else it.run(model, empty=empty)))
        finally:
            await sources.close()
    finally:
        await journal.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="backends.reembedding")
    parser.add_argument("model")
    parser.add_argument("source")
    for flag in ("--empty", "--cancel"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args()
    work = partial(reembed, given.model, given.source, empty=given.empty, give_up=given.cancel)
    return run_process("reembed", lambda: asyncio.run(work()))


if __name__ == "__main__":
    sys.exit(main())
