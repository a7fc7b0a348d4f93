"""Deliver: claim, embed what has no vector yet, apply to all drivers at once, settle.

What a driver did not take is settled as due later, on a queue of its own (``store.<driver>``), and comes
through here again, for that driver alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from itertools import batched
from uuid import uuid4

from backends.embedding.check import VALUE, check_vectors
from backends.embedding.tokens import estimate_tokens
from backends.journal import Claim, DropWhere, Put, Settled, Settlement, Tally
from backends.journal.locks import Busy
from backends.journal.recheck import doubt, note, took
from backends.journal.usage import count_tokens
from backends.sources import Source
from backends.store import BreakerOpen
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError, Permanent, Transient, Unavailable
from memrelay.types import Upsert
from workers.alarm import held_back, told
from workers.apply import Applied, apply
from workers.batch import Item, cover, driver_of, unpack
from workers.isolate import isolate
from workers.leases import LeaseLost
from workers.outcome import Outcome
from workers.room import Room

log = logging.getLogger("memrelay.worker")
DOUBTED = 2
"""Attempts in which a vector that is not finite is laid to the model rather than to the text."""
EMBEDDED_AT_ONCE = 256
"""Texts of one call: a claim is embedded in two, and a poisoned one is found in at most ten further calls."""

SETTLE_AGAIN = 0.25
"""Seconds between attempts to tell a journal that is away what was done, for as long as the lease lasts."""


async def deliver(room: Room, queue: str) -> int:
    """Work on what ``queue`` has next; how many memories that were, 0 if nothing waited."""
    taken = room.loop.time()
    claim = await room.journal.claim(queue, uuid4().hex)
    if claim is None:
        return 0
    try:
        async with room.leases.hold(claim, taken):
            await work(room, claim)
    except LeaseLost:
        log.warning(
            "the lease of %d envelopes ran out; they were taken over by another worker, or will be",
            len(claim.envelopes),
        )
    return sum(len(envelope.writes) for envelope in claim.envelopes)


async def work(room: Room, claim: Claim) -> None:
    """Embed, apply and settle what ``claim`` holds."""
    items = unpack(claim)
    attempt = min(envelope.attempts for envelope in claim.envelopes)
    try:
        source = await _source(room, claim)
        await _count(room, claim, await _embed(source.embedder, items, attempt))
        if source.building is not None:
            await _embed_twins(source.building, items)
    except Transient as error:
        log.warning("embedding %d memories failed for now: %s", len(items), error)
        await _again(room, claim, error)
        return
    driver = driver_of(claim.queue)
    drivers = claim.drivers if driver is None else [driver]
    applied = await _apply(room, source, claim, drivers, items)
    await _note_doubts(room, source, claim, items, applied)
    await _settle(room, source, claim, items, applied)


async def _source(room: Room, claim: Claim) -> Source:
    """The claim's source in the spaces that held when it was claimed, or later; ``Transient`` without it."""
    source = room.sources.by_name.get(claim.source)
    if source is not None and source.spaces.epoch != claim.epoch:
        try:
            await room.sources.look(room.journal)
        except ConfigError as error:
            raise Transient(str(error), code="config") from error
        source = room.sources.by_name[claim.source]
    if source is None:
        raise Transient(f"source {claim.source} is not configured here")
    return source


async def _apply(
    room: Room, source: Source, claim: Claim, drivers: Sequence[str], items: Sequence[Item]
) -> dict[str, Applied]:
    rows = await asyncio.gather(
        *(_to_driver(room, source, claim, driver, items) for driver in drivers)
    )
    return dict(zip(drivers, rows, strict=True))


async def _to_driver(
    room: Room, source: Source, claim: Claim, driver: str, items: Sequence[Item]
) -> Applied:
    if driver in claim.retired:
        return Applied()
    if driver in claim.away:
        deletes = any(isinstance(item.write, DropWhere) for item in items)
        waits = Transient(f"driver {driver} is detached", code="detached", retry_after=5)
        return Applied(down=waits if deletes else None)
    applied = await apply(room, source, driver, claim, items)
    if applied.down is not None:
        log.warning("driver %s takes %d memories later: %s", driver, len(items), applied.down)
    return applied


async def _embed(embedder: Embedder | None, items: Sequence[Item], attempt: int) -> int:
    """Give each item that needs one a vector, or an error; how many tokens that were, about.

    Raises ``Transient`` for all of them.
    """
    wanting = [item for item in items if item.text is not None]
    tokens = sum(estimate_tokens(item.text or "") for item in wanting)
    if embedder is None:
        for item in wanting:
            item.error = Permanent("the memory came without a vector", code="vector_missing")
        return 0

    async def call(part: Sequence[Item]) -> None:
        vectors = await embedder.embed([item.text or "" for item in part])
        check_vectors(vectors, count=len(part), dimensions=embedder.space.dimensions)
        for item, vector in zip(part, vectors, strict=True):
            item.vector = vector

    parts = [list(part) for part in batched(wanting, EMBEDDED_AT_ONCE)]
    for guilty in await asyncio.gather(*(isolate(part, call) for part in parts)):
        for item, error in guilty:
            if error.code == VALUE and attempt <= DOUBTED:
                raise Transient(str(error), code=VALUE) from error
            item.error = error
    return tokens


async def _count(room: Room, claim: Claim, tokens: int) -> None:
    """What the namespace has used; it is not counted while the journal is away."""
    if tokens:
        with contextlib.suppress(Unavailable):
            await count_tokens(room.journal, claim.namespace, tokens)


async def _embed_twins(embedder: Embedder, items: Sequence[Item]) -> None:
    """The vectors in the space that is built beside the source's own. What its model refuses is refused."""
    wanting = [item for item in items if not item.done and isinstance(item.op(), Upsert)]

    async def call(part: Sequence[Item]) -> None:
        vectors = await embedder.embed([_text(item) for item in part])
        check_vectors(vectors, count=len(part), dimensions=embedder.space.dimensions)
        for item, vector in zip(part, vectors, strict=True):
            item.twin = vector

    for part in batched(wanting, EMBEDDED_AT_ONCE):
        for item, error in await isolate(list(part), call):
            item.error = error


def _text(item: Item) -> str:
    return item.write.text if isinstance(item.write, Put) else ""


async def _note_doubts(
    room: Room,
    source: Source,
    claim: Claim,
    items: Sequence[Item],
    applied: Mapping[str, Applied],
) -> None:
    """For the recheck list. After a lease has run out, a store that cannot compare versions may be written to
    by two; one that fails may have been killed, and have lost the last of what it took."""
    crashed = any(envelope.crashed for envelope in claim.envelopes)
    for driver, row in applied.items():
        store = source.store(driver)
        if store is None:
            continue
        place = f"{claim.namespace}|{claim.source}|{driver}"
        if crashed and not store.driver.capabilities.atomic_versions:
            await note(room.journal, place, _ids(items))
        if store.driver.capabilities.survives_kill:
            continue
        # Without the journal nothing is noted, and what was done is settled all the same.
        with contextlib.suppress(Unavailable):
            if row.down is None:
                await took(room.journal, driver, place, _ids(items))
            elif not isinstance(row.down, BreakerOpen | Busy):
                await doubt(room.journal, driver)


def _ids(items: Sequence[Item]) -> list[str]:
    return [item.write.id for item in items if item.write.id]


async def _settle(
    room: Room,
    source: Source,
    claim: Claim,
    items: Sequence[Item],
    applied: Mapping[str, Applied],
) -> None:
    outcome = Outcome(claim, items, applied, room.delay_ms)
    tally = outcome.tallies()
    held = await held_back(room.journal, tally, room.settings.dead_letter_limit)
    outcome.hold_back(held)
    seen = max((line.version for line in claim.scoped), default=0)
    tally = told(tally, held, outcome.first_refusal)
    settled = await _tell(room, claim, outcome.settlements(), tally=tally, seen=seen)
    _warn(settled.lost)
    while settled.look:
        newer = await room.journal.scoped(claim.namespace, claim.source, above=seen)
        seen = max((line.version for line in newer), default=seen)
        covered = cover(items, newer)
        await _delete_covered(room, source, claim, covered, applied)
        outcome = Outcome(claim, items, applied, room.delay_ms)
        settled = await _tell(room, claim, outcome.settlements(settled.look), seen=seen)
        _warn(settled.lost)


async def _tell(
    room: Room,
    claim: Claim,
    settlements: Sequence[Settlement],
    *,
    tally: Sequence[Tally] = (),
    seen: int,
) -> Settled:
    """Settle, again and again while the journal is away. What was settled unheard is ``lost`` then."""
    until = room.loop.time() + room.journal.lease_ms / 1000
    while True:
        try:
            return await room.journal.settle(claim, settlements, tally=tally, seen=seen)
        except Unavailable as error:
            if room.loop.time() > until:
                raise
            log.warning("%d envelopes are settled later: %s", len(settlements), error)
        await asyncio.sleep(SETTLE_AGAIN)


async def _delete_covered(
    room: Room,
    source: Source,
    claim: Claim,
    covered: Sequence[Item],
    applied: Mapping[str, Applied],
) -> None:
    """A delete by filter was accepted while we stored what it covers: delete that again, everywhere."""
    for item in covered:
        item.letters = {}
    if covered:
        drivers = [driver for driver, row in applied.items() if row.down is None]
        for driver, row in (await _apply(room, source, claim, drivers, covered)).items():
            applied[driver].down = row.down
            applied[driver].later.update(row.later)


def _warn(lost: Sequence[int]) -> None:
    if lost:
        log.warning("%d envelopes were taken over by another worker before they settled", len(lost))


async def _again(room: Room, claim: Claim, error: Transient) -> None:
    """Every envelope of the claim once more, after its backoff."""
    settlements = [
        Settlement(eid=envelope.eid, again_ms=room.delay_ms(envelope.attempts, error))
        for envelope in claim.envelopes
    ]
    settled = await _tell(
        room, claim, settlements, seen=max((line.version for line in claim.scoped), default=0)
    )
    if settled.look:
        await _tell(room, claim, settlements, seen=2**53)
