"""Apply: the ops of a claim to one driver, under its deadline and breaker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import batched

from backends.journal import Claim, DropWhere
from backends.journal.locks import WAIT
from backends.journal.marks import scoped_filter
from backends.parts import parts
from backends.sources import Source
from backends.store import Store
from memrelay.errors import MemrelayError, Permanent, Transient
from memrelay.jobs import deliver_queue
from memrelay.types import Delete, Memory, Op, Scope
from workers.batch import Item, driver_of
from workers.isolate import isolate
from workers.room import Room

BRIEFLY = 0.2
"""Seconds that a first try waits for a driver's one writer: the other drivers wait for their outcomes
meanwhile. What it does not get is done on the driver's own queue."""
AT_A_TURN = 64
"""Ops: a single write that comes to the store meanwhile waits for no more than these."""
INTERACTIVE = deliver_queue("interactive")
DELETING_SECONDS = 45.0
"""A delete by filter goes on in another task after that: a task has its limit."""


class Unfinished(Transient):
    """A delete by filter has more to do."""

    code = "unfinished"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a claim is applied: one driver, in one source of one namespace (``place``)."""

    store: Store
    scope: Scope
    place: str
    token: str
    patience: float
    """Seconds to wait while somebody else writes to a driver that can have one writer only."""


@dataclass(slots=True)
class Applied:
    """What one driver did with the ops of a claim: ``down`` for all of them, or by id.

    ``span``: when it began and ended, by the monotonic clock; None if it was not asked.
    """

    down: Transient | None = None
    refused: dict[str, Permanent] = field(default_factory=dict)
    later: dict[str, Transient] = field(default_factory=dict)
    unfinished: dict[int, MemrelayError] = field(default_factory=dict)
    """By version: the deletes by filter that did not end."""
    span: tuple[float, float] | None = None


async def apply(
    room: Room, source: Source, driver: str, claim: Claim, items: Sequence[Item]
) -> Applied:
    """What became of the items in ``driver``; only those that have no outcome of it yet are tried."""
    store = source.store(driver)
    if store is None:
        return Applied(
            down=Transient(f"driver {driver} is not configured for source {source.name} here")
        )
    at = Target(
        store,
        source.scope(claim.namespace),
        f"{claim.namespace}|{claim.source}",
        claim.token,
        WAIT if driver_of(claim.queue) else BRIEFLY,
    )
    open_items = [item for item in items if driver not in item.letters]
    ops = [op for op in (item.op() for item in open_items) if op is not None]
    applied = Applied()
    began = time.monotonic()
    try:
        for part, turn in _turns(room, claim, ops):
            async with turn, _alone(room, at):
                await _apply(at, part, applied)
        for item in open_items:
            if isinstance(item.write, DropWhere) and not item.left and item.error is None:
                await _delete(room, at, item, applied)
    except Transient as error:
        applied.down = error
    finally:
        if open_items:
            room.observe(f"apply|{driver}", time.monotonic() - began)
    applied.span = (began, time.monotonic())
    return applied


def _turns(
    room: Room, claim: Claim, ops: Sequence[Op]
) -> Iterator[tuple[Sequence[Op], AbstractAsyncContextManager[None]]]:
    """The ops in one part; but bulk work in turns while single writes are in a hurry."""
    if claim.queue == INTERACTIVE or not room.pace.hurried:
        if ops:
            yield ops, nullcontext()
        return
    for part in batched(ops, AT_A_TURN):
        yield part, room.pace.turn()


def _alone(room: Room, at: Target) -> AbstractAsyncContextManager[None]:
    """Two writers at once are too many for a driver that cannot compare versions itself."""
    if at.store.driver.capabilities.atomic_versions:
        return nullcontext()
    at.store.check()
    return room.locks.hold(f"{at.store.name}|{at.place}", at.token, wait=at.patience)


async def _apply(at: Target, ops: Sequence[Op], applied: Applied) -> None:
    async def call(part: Sequence[Op]) -> None:
        outcomes = await at.store.call(at.scope, lambda ready: ready.apply(at.scope, part))
        for op in part:
            outcome = outcomes.get(op.id)
            if outcome is None:
                error: MemrelayError = Transient(
                    f"driver {at.store.name} gave no outcome for a memory", code="no_outcome"
                )
            elif outcome.status != "failed":
                continue
            else:
                error = outcome.error or Permanent(f"driver {at.store.name} refused it")
            if isinstance(error, Transient):
                applied.later[op.id] = error
            else:
                applied.refused[op.id] = _permanent(error)

    for op, refusal in await isolate(ops, call):
        applied.refused[op.id] = refusal


def _permanent(error: MemrelayError) -> Permanent:
    return error if isinstance(error, Permanent) else Permanent(str(error), code=error.code)


async def _delete(room: Room, at: Target, item: Item, applied: Applied) -> None:
    """Delete what a filter matches below the item's version, page by page.

    Each at its own version: a newer one of it that the filter does not match may be on its way. What an
    earlier task of this process has gone through is not gone through again.
    """
    assert isinstance(item.write, DropWhere)
    chosen = scoped_filter(item.write.filter)
    until = time.monotonic() + DELETING_SECONDS
    place = (at.store.name, at.scope.space, item.version)
    after = room.deleted_up_to.get(place)
    try:
        async for part in parts(at.store.call, at.scope, chosen, after=after):
            older = [memory for memory in part.matching if memory.version < item.version]
            await _delete_all(room, at, older)
            room.deleted_up_to[place] = part.after
            if not part.ended and time.monotonic() > until:
                raise Unfinished("a delete by filter has more to do", retry_after=0.1)
    except (Unfinished, Permanent) as error:
        applied.unfinished[item.version] = error
        if isinstance(error, Unfinished):
            return
    room.deleted_up_to.pop(place, None)


async def _delete_all(room: Room, at: Target, memories: Sequence[Memory]) -> None:
    if not memories:
        return
    deleted = Applied()
    async with _alone(room, at):
        await _apply(at, [Delete(memory.id, memory.version) for memory in memories], deleted)
    for error in (*deleted.later.values(), *deleted.refused.values()):
        raise Unfinished(f"a memory could not be deleted yet: {error}", code=error.code)
