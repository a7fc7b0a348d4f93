"""Sync: a driver that was detached, that is new to a source, or that an operator wants compared, is brought
to what the others hold.

It is given new envelopes again first, then what it missed is merged in slices; a pass that is killed goes on
where it was. Only a driver that misses nothing serves: it was merged with one that serves, or with all others
together, once these had ended what was accepted before; and it has itself ended what was accepted until then,
for what it missed may have been written again meanwhile, and is not to be found in the others any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from backends.journal.pending import is_pending
from backends.journal.sync import (
    DriverState,
    Pass,
    attach,
    last_version,
    lowest_open,
    missed,
    part,
    save,
    states,
    synced,
)
from backends.journal.tombstones import forgotten
from backends.mirror import mirrored
from backends.reconcile import Divergence, Plan, Progress, peer_of, reconcile
from backends.reconcile.peer import scan_page
from backends.sources import Source
from backends.store import Store
from memrelay.driver import Driver
from memrelay.errors import MemrelayError, Transient
from memrelay.times import now_us
from memrelay.types import Scope
from workers.batch import Covering
from workers.peers import Place, all_places, delete_where, peers_of, place_of
from workers.room import Room

log = logging.getLogger("memrelay.worker")
SLICE_SECONDS = 20.0
PURGE_SECONDS = 60.0
"""A purge that does not end in this time goes on in the next turn."""


async def sync(room: Room) -> None:
    """One slice for each driver that needs it, and for each that is new to a source; then the first error
    of those that were broken off."""
    failed: Transient | None = None
    for name in (*room.sources.stores, *_parts(room)):
        try:
            await _turn(room, name)
        except Transient as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _parts(room: Room) -> list[str]:
    """The drivers that are new to a source, each in that source alone."""
    return [
        part(source.name, store.name)
        for source in room.sources.by_name.values()
        for store in source.stores
        if source.members.get(store.name, "whole") != "whole"
    ]


async def _turn(room: Room, name: str) -> None:
    await room.sources.look(room.journal)
    names = dict.fromkeys([*room.sources.stores, *_parts(room), name])
    known = await states(room.journal, list(names))
    source, _, driver = name.rpartition("|")
    if source and known[driver].state == "away":
        return
    it = await _begun(room, name, known[name])
    if it is not None:
        await room.sources.look(room.journal)  # who is syncing from now on is merged
        await _slice(room, it, _Turn(name, known, time.monotonic() + SLICE_SECONDS))


async def _begun(room: Room, name: str, state: DriverState) -> Pass | None:
    """The pass of a driver, or of its part, that is under way; a new one when it has come back. None if
    there is none."""
    unfinished = state.last if state.last is not None and state.last.ended_at is None else None
    if state.state == "" or (state.state == "syncing" and unfinished and unfinished.until):
        return unfinished
    driver = name.rpartition("|")[2]
    if state.held or state.state == "retired" or not await _answers(room, driver):
        return None
    it = Pass(full=bool(unfinished and unfinished.full), asked_at=now_us() // 1000)
    await save(room.journal, name, it)  # without ``until`` it has not begun, whatever happens now
    if name != driver and state.state == "away" and not await _is_empty(room, driver, it, state):
        await save(room.journal, name, it)
        return None
    await attach(room.journal, name, frm="away", to="syncing")
    # From now on nothing is skipped any more: this is all that was.
    now = (await states(room.journal, [name]))[name]
    it.places = {place: 0 if it.full else since for place, since in now.skipped.items()}
    it.until = await last_version(room.journal) + 1
    await save(room.journal, name, it)
    log.warning("driver %s is back: what it missed is brought to it", name)
    return it


async def _answers(room: Room, driver: str) -> bool:
    try:
        await room.sources.stores[driver].ping()
    except MemrelayError:
        return False
    return True


async def _is_empty(room: Room, driver: str, it: Pass, state: DriverState) -> bool:
    """Whether the driver has nothing of the places that it is new to, once that is removed if it may be.

    What it has of them may have been deleted in the others since, and they have forgotten that. Not to be
    asked once it is attached: from then on it has what was accepted since.
    """
    for name in state.skipped:
        place, store = place_of(room, name), room.sources.stores[driver]
        if place is None:
            continue
        if state.emptied:
            await store.call(place.scope, partial(_purge, place.scope), timeout=PURGE_SECONDS)
        elif await _holds_some(place, store):
            it.error = (
                f"it has memories of {place.source.name} already, from elsewhere or from before: "
                f"memrelay join {driver} --source {place.source.name} --empty removes them"
            )
            return False
    return True


async def _holds_some(place: Place, store: Store) -> bool:
    """Of a place, or in the space that is built for it."""
    scopes = [place.scope]
    if place.source.building is not None:
        scopes.append(mirrored(place.scope, place.source.building))
    for scope in scopes:
        if (await scan_page(scope, peer_of(store), limit=1)).entries:
            return True
    return False


async def _purge(scope: Scope, driver: Driver) -> None:
    await driver.purge(scope)


async def _slice(room: Room, it: Pass, turn: _Turn) -> None:
    if it.full:
        await _take_in_all_places(room, turn.driver, it)
    try:
        for name in [name for name, since in it.places.items() if since is not None]:
            await _merge_place(room, name, it, turn)
            if turn.over:
                break
    except Transient as error:
        it.error = str(error)
        await save(room.journal, turn.name, it)
        raise
    if any(since is not None for since in it.places.values()):
        return
    if turn.returning and await _has_more_to_end(room, turn, it):
        return
    await _delete_again(room, it, turn.away)
    await _end(room, it, turn)


async def _take_in_all_places(room: Room, driver: str, it: Pass) -> None:
    for place in await all_places(room):
        if driver in [store.name for store in place.source.stores]:
            it.places.setdefault(place.name, 0)
    if not it.until:
        oldest = await lowest_open(room.journal)
        it.until = oldest or await last_version(room.journal) + 1


async def _merge_place(room: Room, name: str, it: Pass, turn: _Turn) -> None:
    place, since = place_of(room, name), it.places[name]
    if place is not None and turn.name != turn.driver and not _takes_part(place.source, turn):
        return  # retired meanwhile
    if place is None or since is None or not _takes_part(place.source, turn):
        it.places[name] = None
        return
    if turn.returning and (reason := await _held_up(room, place.source, it, turn)):
        it.error = reason
        await save(room.journal, turn.name, it)
        return
    for store in place.source.merged:
        if store.name in turn.away:
            await missed(room.journal, store.name, name, since)
    await _merge(room, place, it, turn)


def _takes_part(source: Source, turn: _Turn) -> bool:
    """What is to be filled first is filled by the pass of its part alone, from when that has begun."""
    return turn.driver in [store.name for store in source.merged]


async def _held_up(room: Room, source: Source, it: Pass, turn: _Turn) -> str:
    """Why the others cannot be said to hold all that was accepted before the driver was back; empty if they
    do. Looked up once a turn for each source."""
    if source.name not in turn.reasons:
        others = [store.name for store in source.merged if store.name != turn.driver]
        whole = [name for name in others if turn.is_whole(source, name)]
        away = [name for name in others if name in turn.away]
        reason = ""
        if away and not whole:
            reason = f"waits for {', '.join(away)}: no other driver of {source.name} has everything"
        elif others and await is_pending(room.journal, whole or others, below=it.until):
            reason = f"waits until the others of {source.name} have what was accepted before"
        turn.reasons[source.name] = reason
    return turn.reasons[source.name]


async def _has_more_to_end(room: Room, turn: _Turn, it: Pass) -> bool:
    """Whether the driver has still to be given something that was accepted before all was merged."""
    if not it.cut:
        it.cut = await last_version(room.journal) + 1
    pending = await is_pending(room.journal, [turn.driver], below=it.cut)
    it.error = "waits until it has what was accepted meanwhile" if pending else ""
    await save(room.journal, turn.name, it)
    return pending


async def _delete_again(room: Room, it: Pass, away: Sequence[str]) -> None:
    """What was copied while a delete by user or filter was carried out may have come after it."""
    for name in it.places:
        place = place_of(room, name)
        if place is None:
            continue
        source = place.source.name
        for line in await room.journal.scoped(place.namespace, source, above=it.until - 1):
            for peer in peers_of(room, place, without=away):
                await delete_where(peer, place.scope, line)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One slice of a pass of a driver, or of its part in a source (``name``), until ``until`` of the
    monotonic clock; ``known`` of all drivers and of those parts that are not whole."""

    name: str
    known: dict[str, DriverState]
    until: float
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a source's places are not merged yet; empty if they are."""

    @property
    def driver(self) -> str:
        return self.name.rpartition("|")[2]

    @property
    def returning(self) -> bool:
        """It has been away and does not serve yet."""
        return self.known[self.name].state != ""

    def is_whole(self, source: Source, driver: str) -> bool:
        """Whether a driver has everything of a source."""
        own = self.known.get(part(source.name, driver))
        return self.known[driver].state == "" and (own is None or own.state == "")

    @property
    def away(self) -> list[str]:
        return [
            name
            for name, state in self.known.items()
            if state.state == "away" and "|" not in name and name != self.driver
        ]

    @property
    def over(self) -> bool:
        return time.monotonic() > self.until


async def _merge(room: Room, place: Place, it: Pass, turn: _Turn) -> None:
    """One slice of one place; ``it`` is saved at every page."""
    before = msgspec.convert(it.report.get(place.name, {}), Divergence)
    scoped = await room.journal.scoped(place.namespace, place.source.name)

    async def saved(progress: Progress) -> None:
        it.places[place.name] = progress.resume
        it.report[place.name] = msgspec.to_builtins(before + progress.divergence)
        it.error = ""
        await save(room.journal, turn.name, it)

    progress = await reconcile(
        place.scope,
        peers_of(room, place, without=turn.away),
        Plan(
            since=it.places[place.name] or 0,
            until=it.until,
            deep=it.full,
            doubted=frozenset({turn.driver}),
            forgotten=await forgotten(room.journal),
            covered=Covering(scoped),
            embed=place.source.embedder.embed if place.source.embedder else None,
            saved=saved,
            more=lambda: not turn.over,
        ),
    )
    await saved(progress)


async def _end(room: Room, it: Pass, turn: _Turn) -> None:
    """The driver has everything: its jobs say so, and it serves again, unless it went away once more."""
    for name in it.places:
        place = place_of(room, name)
        if place is not None and _takes_part(place.source, turn):
            await synced(room.journal, turn.driver, name, it.until)
    back = await attach(room.journal, turn.name, frm="syncing", to="")
    if turn.returning and not back:
        return
    it.ended_at = now_us() // 1000
    await save(room.journal, turn.name, it)
    log.info("driver %s is in sync%s", turn.name, _repairs(it))


def _repairs(it: Pass) -> str:
    """What was repaired, for the log; all of it is in the pass."""
    rows = [msgspec.convert(row, Divergence) for row in it.report.values()]
    peers = [peer for row in rows for peer in row.peers.values()]
    repaired, left = sum(p.repaired for p in peers), sum(p.unrepaired for p in peers)
    return f": {repaired} records repaired" + (f", {left} not" if left else "")
