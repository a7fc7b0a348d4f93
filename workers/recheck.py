"""Recheck: what two may have written at once, or a store may have lost when it was killed, is compared in all
drivers and mended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from backends.journal.recheck import done, due, note
from backends.logs import loggable
from backends.reconcile import Peer
from memrelay.driver import Driver
from memrelay.errors import MemrelayError
from memrelay.types import Delete, Op, Scope
from workers.peers import peers_of, place_of
from workers.room import Room

log = logging.getLogger("memrelay.worker")
AT_ONCE = 512


async def recheck(room: Room) -> None:
    for name, ids in (await due(room.journal, AT_ONCE)).items():
        place = place_of(room, name.rpartition("|")[0])
        try:
            mended = await mend(place.scope, peers_of(room, place), ids) if place else 0
        except MemrelayError as error:
            log.warning("%d memories of %s are compared later: %s", len(ids), name, loggable(error))
            await note(room.journal, name, ids)
            continue
        if mended:
            log.warning("%d memories of %s were not as in the others; mended", mended, name)
        await done(room.journal, name, ids)


async def mend(scope: Scope, peers: Sequence[Peer], ids: Sequence[str]) -> int:
    """Bring every peer to the highest version that one of them holds of each id; how many writes it took."""
    held = await asyncio.gather(
        *(peer.call(scope, lambda driver: _records(driver, scope, ids)) for peer in peers)
    )
    newest: dict[str, Op] = {}
    for records in held:
        for id, op in records.items():
            if id not in newest or _rank(newest[id]) < _rank(op):
                newest[id] = op
    mended = 0
    for peer, records in zip(peers, held, strict=True):
        lower = [
            op for id, op in newest.items() if id not in records or _rank(records[id]) < _rank(op)
        ]
        if lower:
            await peer.write(scope, lower)
            mended += len(lower)
    return mended


def _rank(op: Op) -> tuple[int, bool]:
    """At one version a delete wins."""
    return op.version, isinstance(op, Delete)


async def _records(driver: Driver, scope: Scope, ids: Sequence[str]) -> dict[str, Op]:
    return dict(await driver.records(scope, ids))
