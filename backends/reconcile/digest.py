"""One number for all that a replica holds, whatever its order: two that are equal hold the same."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from backends.reconcile.judge import digest_of
from backends.reconcile.merge import Merge
from backends.reconcile.peer import Peer, together
from backends.reconcile.plan import Plan
from memrelay.types import Entry, Op, Scope, Upsert

TURNS = 30
"""Seconds, too, in which what was written while it was read becomes the same in both."""
AT_ONCE = 512
MAX_EXAMPLES = 10
BITS = 128


@dataclass(frozen=True, slots=True)
class Digest:
    """The sum over id, version and digest of each entry; values add up."""

    live: int = 0
    tombstones: int = 0
    sum: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(
            self.live + other.live,
            self.tombstones + other.tombstones,
            (self.sum + other.sum) % 2**BITS,
        )

    def __str__(self) -> str:
        return f"{self.sum:032x}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replicas. ``again``: ids that did not stand still and were read once more, alone;
    ``differing``: those that differ for good, at most 10 of them."""

    left: Digest = Digest()
    right: Digest = Digest()
    again: int = 0
    differing: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        return self.left == self.right

    def __add__(self, other: Pair) -> Pair:
        return Pair(
            self.left + other.left,
            self.right + other.right,
            self.again + other.again,
            (self.differing + other.differing)[:MAX_EXAMPLES],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What is compared: versions below ``until``, which both have ended. Tombstones below ``forgotten`` may
    have been collected in one and not yet in the other, and are left out."""

    until: int
    forgotten: Callable[[], Awaitable[int]]


async def digests(
    scope: Scope,
    peers: tuple[Peer, Peer],
    bound: Bound,
    told: Callable[[int], None],
    *,
    pause: float = 1.0,
) -> Pair:
    """The digests of two replicas of a scope; ``told`` how many entries were compared so far.

    They are read side by side, page by page. An id that is not in both as it is in one may have been written
    meanwhile, or have expired in one of them first: it is read again by itself, every ``pause`` seconds,
    until both hold the same of it. Its memory is that of a page and of those ids.
    """
    merge = Merge(scope, peers, Plan(until=bound.until))
    both, read = Digest(), 0
    unlike: dict[str, None] = {}
    while await merge.position() is not None:
        lines = merge.take()
        read += len(lines)
        for line in lines:
            if len(line.held) == 2 and line.held[0] == line.held[1]:
                both += _of(scope, Entry(line.id, line.version, line.held[0]))
            else:
                unlike[line.id] = None
        told(read)
    return Pair(both, both, len(unlike)) + await _again(scope, peers, bound, list(unlike), pause)


async def _again(
    scope: Scope, peers: tuple[Peer, Peer], bound: Bound, ids: Sequence[str], pause: float
) -> Pair:
    """The digests of single ids, as they are when both hold the same; else as they are at last."""
    found = Pair()
    for turn in range(TURNS):
        if not ids:
            return found
        if turn:
            await asyncio.sleep(pause)
        forgotten = await bound.forgotten()
        unlike: list[str] = []
        rest = Pair()
        for some in batched(ids, AT_ONCE):
            left, right = await together(_entries(scope, peer, some) for peer in peers)
            for id in some:
                pair = tuple(_counted(held.get(id), bound, forgotten) for held in (left, right))
                one = Pair(_sum(scope, pair[:1]), _sum(scope, pair[1:]))
                if pair[0] == pair[1]:
                    found += one
                else:
                    unlike.append(id)
                    rest += one
        ids = unlike
    return found + rest + Pair(differing=tuple(ids[:MAX_EXAMPLES]))


async def _entries(scope: Scope, peer: Peer, ids: Sequence[str]) -> Mapping[str, Entry]:
    found = await peer.call(scope, lambda driver: driver.records(scope, ids))
    return {id: _entry(op) for id, op in found.items()}


def _entry(op: Op) -> Entry:
    digest = digest_of(op.memory) if isinstance(op, Upsert) else None
    return Entry(op.id, op.version, digest)


def _counted(entry: Entry | None, bound: Bound, forgotten: int) -> Entry | None:
    """The entry, if it is one of those that are compared."""
    if entry is None or entry.version >= bound.until:
        return None
    return None if entry.digest is None and entry.version < forgotten else entry


def _sum(scope: Scope, entries: Iterable[Entry | None]) -> Digest:
    return sum((_of(scope, entry) for entry in entries if entry is not None), start=Digest())


def _of(scope: Scope, entry: Entry) -> Digest:
    parts = (scope.namespace, scope.source, entry.id, str(entry.version), entry.digest or "")
    hashed = hashlib.blake2b("\0".join(parts).encode(), digest_size=BITS // 8)
    live = int(entry.digest is not None)
    return Digest(live, 1 - live, int.from_bytes(hashed.digest()))
