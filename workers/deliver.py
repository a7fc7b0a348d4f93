"""Deliver: claim, embed what the cache does not hold, apply to all drivers at once, settle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from uuid import uuid4

from backends.embedding.check import VALUE, check_vectors
from backends.journal import Claim, DriverResult, Settlement, encode_vectors
from backends.sources import Source
from backends.store import BreakerOpen
from memrelay.embedder import Embedder
from memrelay.errors import Permanent, Transient
from workers.apply import apply
from workers.batch import Item, kept_vectors, results_of, unpack
from workers.isolate import isolate
from workers.room import Room

log = logging.getLogger("memrelay.worker")
DOUBTED = 2
"""Attempts in which a vector that is not finite is laid to the model rather than to the text."""


async def deliver(room: Room, queue: str) -> int:
    """Work on what ``queue`` has next; how many memories that were, 0 if nothing waited."""
    claim = await room.journal.claim(queue, uuid4().hex)
    if claim is None:
        return 0
    with room.leases.hold(claim):
        settlements = await _work(room, claim)
        await settle(room, claim, settlements)
    return sum(len(envelope.writes) for envelope in claim.envelopes)


async def settle(room: Room, claim: Claim, settlements: Sequence[Settlement]) -> None:
    lost = await room.journal.settle(claim, settlements)
    if lost:
        log.warning("%d envelopes were taken over by another worker before they settled", len(lost))


async def _work(room: Room, claim: Claim) -> list[Settlement]:
    source = room.sources.by_name.get(claim.source)
    if source is None:
        return again(room, claim, Transient(f"source {claim.source} is not configured here"))
    items = unpack(claim)
    try:
        attempt = min(envelope.attempts for envelope in claim.envelopes)
        await _embed(source.embedder, items, attempt)
    except Transient as error:
        log.warning("embedding %d memories failed for now: %s", len(items), error)
        return again(room, claim, error)
    results = await asyncio.gather(
        *(_to_driver(room, claim, source, driver, items) for driver in claim.drivers)
    )
    return [
        _settlement(eid, [row[index] for row in results], items)
        for index, eid in enumerate(claim.eids)
    ]


async def _embed(embedder: Embedder | None, items: Sequence[Item], attempt: int) -> None:
    """Give each item that needs one a vector, or an error. Raises ``Transient`` for all of them."""
    wanting = [item for item in items if item.text is not None]
    if embedder is None or not wanting:
        for item in wanting:
            item.error = Permanent("the memory came without a vector", code="vector_missing")
        return

    async def call(part: Sequence[Item]) -> None:
        vectors = await embedder.embed([item.text or "" for item in part])
        check_vectors(vectors, count=len(part), dimensions=embedder.space.dimensions)
        for item, vector in zip(part, vectors, strict=True):
            item.vector = vector

    for item, error in await isolate(wanting, call):
        if error.code == VALUE and attempt <= DOUBTED:
            raise Transient(str(error), code=VALUE) from error
        item.error = error


async def _to_driver(
    room: Room, claim: Claim, source: Source, driver: str, items: Sequence[Item]
) -> list[DriverResult]:
    """The driver's result for each envelope of the claim, in order."""
    try:
        failures = await apply(source, driver, claim.namespace, items)
    except Transient as error:
        log.warning("driver %s takes %d memories later: %s", driver, len(items), error)
        later_ms = delay_ms(room, 1, error)
        return [DriverResult(driver=driver, later_ms=later_ms) for _ in claim.envelopes]
    return results_of(driver, claim, items, failures)


def _settlement(eid: int, results: Sequence[DriverResult], items: Sequence[Item]) -> Settlement:
    vectors = b""
    if any(result.later_ms >= 0 for result in results):
        vectors = encode_vectors(kept_vectors(eid, items))
    return Settlement(eid=eid, results=results, vectors=vectors)


def delay_ms(room: Room, attempt: int, error: Transient) -> int:
    return int(1000 * room.backoff.delay(attempt, error, room.random))


def again(room: Room, claim: Claim, error: Transient) -> list[Settlement]:
    """Every envelope of the claim once more, after its backoff; an open breaker costs no attempt."""
    refund = isinstance(error, BreakerOpen)
    return [
        Settlement(
            eid=envelope.eid, again_ms=delay_ms(room, envelope.attempts, error), refund=refund
        )
        for envelope in claim.envelopes
    ]
