"""What one claim holds: writes with their versions, collapsed to the highest version of each id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backends.journal import Claim, Claimed, Drop, DropWhere, Put, Scoped, SoFar, Write
from backends.journal.marks import scoped_filter
from backends.mirror import Twin
from memrelay.errors import MemrelayError, Permanent
from memrelay.filters import matches
from memrelay.types import Delete, Memory, Op, Upsert

KILLS = 4
"""How often a memory may end its worker, alone, before it is given up."""
OPEN = "."
NEVER_STORED = ("f", "c")
"""Outcomes of what is refused, or canceled."""


@dataclass(slots=True)
class Item:
    """One write of one envelope, and what became of it before any driver saw it."""

    eid: int
    position: int
    version: int
    write: Write
    source: str
    vector: bytes | None
    letters: dict[str, str] = field(default_factory=dict)
    """The outcome of each driver that has one."""
    by: Item | None = None
    """The newer write of its id in the same claim, in whose place it is not stored."""
    covered: int = 0
    """The version of the delete by user or filter that it falls under."""
    left: bool = False
    """Not to be tried in this claim."""
    supersedes: bool = True
    """It takes the place of older writes: not what is left for later, nor what was refused."""
    done: bool = False
    """Every driver that the claim is for has an outcome of it."""
    error: MemrelayError | None = None
    twin: bytes | None = None
    """Its vector in the space that is built beside the source's own, if one is."""

    @property
    def superseded(self) -> bool:
        return self.by is not None

    @property
    def canceled(self) -> bool:
        return "c" in self.letters.values()

    @property
    def text(self) -> str | None:
        """What has to be embedded still; None if nothing has."""
        if self.superseded or self.covered or self.left or self.done or self.error:
            return None
        if self.vector is not None:
            return None
        return self.write.text if isinstance(self.write, Put) else None

    def op(self) -> Op | None:
        """What the drivers are to do; None for what is superseded, left or failed already."""
        if self.superseded or self.left or self.error is not None:
            return None
        match self.write:
            case DropWhere():
                return None
            case Drop(id):
                return Delete(id, self.version)
            case Put(id) if self.covered:
                return Delete(id, self.version)
            case put:
                assert self.vector is not None
                memory = put.memory(self.source, self.version)
                if self.twin is None:
                    return Upsert(memory, self.vector)
                return Twin(memory, self.vector, self.twin)


def unpack(claim: Claim) -> list[Item]:
    """All writes of a claim in (envelope, position) order; older writes of an id are superseded."""
    items = [item for envelope in claim.envelopes for item in _items(claim, envelope)]
    newest: dict[str, Item] = {}
    for item in items:
        other = newest.get(item.write.id)
        if item.supersedes and (other is None or item.version > other.version):
            newest[item.write.id] = item
    for item in items:
        other = newest.get(item.write.id)
        if other is not None and item.version < other.version:
            item.by = other
    cover(items, claim.scoped)
    return items


def _items(claim: Claim, envelope: Claimed) -> Iterator[Item]:
    items = []
    driver = driver_of(claim.queue)
    wanted = claim.drivers if driver is None else [driver]
    for position, write in enumerate(envelope.writes):
        vector = envelope.vectors.get(position)
        if vector is None and isinstance(write, Put):
            vector = write.vector
        letters = _letters(envelope.so_far, position)
        version = envelope.version(position)
        item = Item(envelope.eid, position, version, write, claim.source, vector or None, letters)
        item.done = all(name in letters for name in wanted)
        item.supersedes = not isinstance(write, DropWhere) and not any(
            letters.get(name) in NEVER_STORED for name in wanted
        )
        items.append(item)
    _leave_for_later(claim, envelope, items)
    yield from items


def _letters(so_far: Mapping[str, SoFar], position: int) -> dict[str, str]:
    return {
        driver: known.outcomes[position]
        for driver, known in so_far.items()
        if known.outcomes[position] != OPEN
    }


def _leave_for_later(claim: Claim, envelope: Claimed, items: Sequence[Item]) -> None:
    """What ended its worker is tried in ever smaller parts, and given up when it is one memory."""
    if not envelope.most:
        return
    untried = [item for item in items if not _tried(claim, item)]
    for item in untried[envelope.most :]:
        item.left = True
        item.supersedes = False
    if envelope.kills >= KILLS and untried:
        untried[0].error = Permanent(
            f"its worker died {envelope.kills} times over it", code="killed_worker"
        )
        untried[0].supersedes = False


def _tried(claim: Claim, item: Item) -> bool:
    """In a store's queue by that driver; else by any: what a driver that is down lacks comes later."""
    driver = driver_of(claim.queue)
    return bool(item.letters) if driver is None else driver in item.letters


def driver_of(queue: str) -> str | None:
    """The driver whose queue it is; None for those that deliver to all."""
    kind, _, name = queue.partition(".")
    return name if kind == "store" else None


class Covering:
    """The version of the newest delete by user or filter that selects a memory; None if none does."""

    def __init__(self, scoped: Sequence[Scoped]) -> None:
        self._filters = [(line.version, scoped_filter(line.filter)) for line in scoped]

    def __call__(self, memory: Memory) -> int | None:
        found = [v for v, chosen in self._filters if v > memory.version and matches(chosen, memory)]
        return max(found, default=None)


def cover(items: Sequence[Item], scoped: Sequence[Scoped]) -> list[Item]:
    """Mark the memories that fall under a newer delete by user or filter; those newly marked."""
    if not scoped:
        return []
    newest = Covering(scoped)
    changed = []
    for item in items:
        if not isinstance(item.write, Put) or item.superseded or item.canceled:
            continue
        under = newest(item.write.memory(item.source, item.version)) or 0
        if under > item.covered:
            item.covered = under
            changed.append(item)
    return changed


def kept_vectors(items: Sequence[Item]) -> dict[int, bytes]:
    """What is kept by position for a driver that stores later: nothing has to be embedded again."""
    return {item.position: item.vector for item in items if item.vector is not None}
