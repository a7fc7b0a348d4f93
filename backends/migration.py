"""``python -m backends.migration FROM TO SOURCE [--retire]``: one driver of a source takes another's place.

The workers fill TO from the others, as they fill every driver that is new to a source: this process asks for
it, tells how far it is, and compares both at the end. Killed and started again, it goes on. One line of JSON
for each thing that it tells, ``{"progress": …}``, at last ``{"result": …}``; the exit status is 0 if the
digests are equal.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import msgspec

from backends.journal import Journal
from backends.journal.members import join, members, retire
from backends.journal.pending import is_pending
from backends.journal.pulse import pulse
from backends.journal.sync import DriverState, last_version, part, places, states
from backends.journal.tombstones import forgotten
from backends.journal.usage import clock
from backends.patience import patiently
from backends.process import run_process
from backends.reconcile import Divergence, Peer, peer_of
from backends.reconcile.digest import Bound, Digest, Pair, digests
from backends.sources import Source, Sources, enter_members, open_sources
from backends.store import Store
from memrelay import exits
from memrelay.errors import ConfigError
from memrelay.settings import load_settings
from memrelay.types import Scope

LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """From which driver to which, in which source, and whether the first is to go then."""

    frm: str
    to: str
    source: str
    retire: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """``total`` is an estimate. ``waits``: why nothing goes on for now."""

    step: Literal["fill", "compare"]
    read: int = 0
    written: int = 0
    total: int = 0
    waits: str = ""


class Migration:
    """One order, as this process follows it."""

    def __init__(self, order: Order, journal: Journal, sources: Sources) -> None:
        self._order = order
        self._journal = journal
        self._sources = sources
        self._progress = Progress(step="fill")

    async def run(self) -> int:
        """The exit status, when everything was told."""
        began, order = time.monotonic(), self._order
        await self._check()
        await self._ask(lambda: join(self._journal, order.source, order.to))
        await self._fill()
        pair = await self._compare()
        retired = pair.equal and order.retire
        if retired:
            await self._ask(
                lambda: retire(self._journal, order.source, order.frm, successor=order.to)
            )
        _tell("result", _result(order, pair, retired, time.monotonic() - began))
        return exits.OK if pair.equal else exits.FAILED

    async def _check(self) -> None:
        """Raise ``ConfigError`` for what cannot be done."""
        order = self._order
        if order.source not in self._sources.by_name:
            raise ConfigError(f"there is no source {order.source}")
        for name in (order.frm, order.to):
            if name not in self._sources.stores:
                raise ConfigError(
                    f"driver {name} is not configured: add drivers.{name} to the settings, and "
                    "start API and workers with them; nothing is lost meanwhile"
                )
        if order.frm == order.to:
            raise ConfigError(f"{order.frm} cannot take its own place")
        known = await self._ask(lambda: members(self._journal, [order.source]))
        state = known[order.source].states.get(order.frm, "no driver of it")
        if state != "whole":
            raise ConfigError(f"{order.frm} has not everything of {order.source}: it is {state}")
        if (reason := self._source.refuses(self._store(order.to))) is not None:
            raise ConfigError(reason)
        if (reason := (await self._ask(lambda: pulse(self._journal))).refuses) is not None:
            raise ConfigError(reason)

    async def _fill(self) -> None:
        """Until the new driver serves."""
        order, total = self._order, await self._count()
        own_part = part(order.source, order.to)
        while True:
            known = await self._ask(lambda: states(self._journal, [order.to, own_part]))
            own, whole = known[own_part], known[order.to]
            if own.state == "retired":
                raise ConfigError(f"{order.to} was retired meanwhile")
            if own.state == "" and whole.state == "":
                return
            read, written = _filled(own, order.to)
            waits = await self._waits(own, whole)
            self._show(Progress(step="fill", read=read, written=written, total=total, waits=waits))
            await asyncio.sleep(LOOK_SECONDS)

    async def _waits(self, own: DriverState, whole: DriverState) -> str:
        if not (await self._ask(lambda: pulse(self._journal))).alive:
            return "no worker is running"
        if whole.held:
            return f"{self._order.to} was taken out (memrelay sync {self._order.to})"
        error = own.last.error if own.last is not None else ""
        if own.state == "away" and not error:
            return f"waits until {self._order.to} answers"
        return error

    async def _compare(self) -> Pair:
        """The digests of everything that was accepted until now, once both have ended it."""
        until = await self._ask(lambda: last_version(self._journal)) + 1
        names = [self._order.frm, self._order.to]
        while await self._ask(lambda: is_pending(self._journal, names, below=until)):
            waits = "waits until both have what was accepted before"
            self._show(Progress(step="compare", waits=waits))
            await asyncio.sleep(LOOK_SECONDS)
        total = await self._count()
        bound = Bound(until=until, forgotten=lambda: forgotten(self._journal))
        found = Pair()
        for scope in await self._scopes():
            told = partial(self._compared, found.left, total)
            found += await self._ask(partial(digests, scope, self._peers(), bound, told))
        return found

    def _compared(self, before: Digest, total: int, read: int) -> None:
        done = before.live + before.tombstones + read
        self._show(Progress(step="compare", read=done, total=total))

    def _peers(self) -> tuple[Peer, Peer]:
        return peer_of(self._store(self._order.frm)), peer_of(self._store(self._order.to))

    async def _count(self) -> int:
        """The live memories of the driver that is left."""
        now = await self._ask(lambda: clock(self._journal))
        store, total = self._store(self._order.frm), 0
        for scope in await self._scopes():
            total += await self._ask(partial(_count, store, scope, now))
        return total

    async def _scopes(self) -> list[Scope]:
        known = await self._ask(lambda: places(self._journal))
        source = self._source
        return [source.scope(namespace) for namespace, name in known if name == source.name]

    @property
    def _source(self) -> Source:
        return self._sources.by_name[self._order.source]

    def _store(self, name: str) -> Store:
        return self._sources.stores[name]

    async def _ask[T](self, ask: Callable[[], Awaitable[T]]) -> T:
        return await patiently(ask, self._wait)

    def _wait(self, reason: str) -> None:
        self._show(replace(self._progress, waits=reason))

    def _show(self, progress: Progress) -> None:
        self._progress = progress
        _tell("progress", msgspec.to_builtins(progress))


def _tell(kind: str, value: Mapping[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode({kind: value}).decode() + "\n")
    sys.stdout.flush()


async def _count(store: Store, scope: Scope, now: int) -> int:
    return await store.call(scope, lambda driver: driver.count(scope, None, now=now))


def _filled(own: DriverState, driver: str) -> tuple[int, int]:
    """How many ids were read so far, and how many were written to the new driver."""
    read = written = 0
    for found in own.last.report.values() if own.last is not None else ():
        divergence = msgspec.convert(found, Divergence)
        read += divergence.compared
        written += divergence.peers[driver].repaired if driver in divergence.peers else 0
    return read, written


def _result(order: Order, pair: Pair, retired: bool, seconds: float) -> dict[str, Any]:
    sides = {order.frm: pair.left, order.to: pair.right}
    return {
        "source": order.source,
        "from": order.frm,
        "to": order.to,
        "equal": pair.equal,
        "drivers": {
            name: {"live": side.live, "tombstones": side.tombstones, "digest": str(side)}
            for name, side in sides.items()
        },
        "read_again": pair.again,
        "differing": list(pair.differing),
        "retired": retired,
        "seconds": round(seconds, 1),
    }


async def migrate(order: Order) -> int:
    settings = load_settings()
    journal = Journal(settings.journal_url)
    try:
        sources = await open_sources(settings)
        try:
            await enter_members(journal, settings)
            return await Migration(order, journal, sources).run()
        finally:
            await sources.close()
    finally:
        await journal.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="backends.migration")
    for name in ("frm", "to", "source"):
        parser.add_argument(name)
    parser.add_argument("--retire", action="store_true")
    given = parser.parse_args()
    order = Order(frm=given.frm, to=given.to, source=given.source, retire=given.retire)
    statuses: list[int] = []
    status = run_process("migrate", lambda: statuses.append(asyncio.run(migrate(order))))
    return status or statuses[0]


if __name__ == "__main__":
    sys.exit(main())
