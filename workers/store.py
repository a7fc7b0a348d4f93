"""Store: what one driver did not take at once, later and alone. Nothing is embedded again."""

from __future__ import annotations

import logging
from uuid import uuid4

from backends.journal import Claim, Settlement
from memrelay.errors import Permanent, Transient
from workers.apply import apply
from workers.batch import results_of, unpack
from workers.deliver import again, settle
from workers.room import Room

log = logging.getLogger("memrelay.worker")


async def store(room: Room, queue: str) -> int:
    """Work on what ``queue`` (``store.<driver>``) has next; how many memories, 0 if nothing waited."""
    claim = await room.journal.claim(queue, uuid4().hex)
    if claim is None:
        return 0
    with room.leases.hold(claim):
        await settle(room, claim, await _work(room, claim, queue.partition(".")[2]))
    return sum(len(envelope.writes) for envelope in claim.envelopes)


async def _work(room: Room, claim: Claim, driver: str) -> list[Settlement]:
    source = room.sources.by_name.get(claim.source)
    if source is None:
        return again(room, claim, Transient(f"source {claim.source} is not configured here"))
    items = unpack(claim)
    for item in items:
        if item.text is not None:
            item.error = Permanent("refused when it was embedded", code="embedding_refused")
    try:
        failures = await apply(source, driver, claim.namespace, items)
    except Transient as error:
        log.warning("driver %s still does not take %d memories: %s", driver, len(items), error)
        return again(room, claim, error)
    return [
        Settlement(eid=eid, results=[result])
        for eid, result in zip(claim.eids, results_of(driver, claim, items, failures), strict=True)
    ]
