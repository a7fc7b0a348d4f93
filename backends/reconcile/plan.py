"""What one pass shall do, and whom it tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from backends.reconcile.divergence import Progress
from memrelay.types import Memory

Covered = Callable[[Memory], int | None]
"""The version of the newest delete by user or by filter that selects a memory."""
Embed = Callable[[Sequence[str]], Awaitable[Sequence[bytes]]]
"""Float32 vectors of at most 512 texts, in their order."""
Saved = Callable[[Progress], Awaitable[None]]


def not_covered(memory: Memory) -> int | None:
    """No delete by user or by filter is known."""
    return None


async def not_saved(progress: Progress) -> None:
    """Nobody keeps the place."""


def unlimited() -> bool:
    """There is always more time."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The versions from ``since`` up to, but not with, ``until`` are merged.

    ``until`` is the lowest version that is still in flight: what is at and above it is not looked at.
    """

    since: int = 0
    until: int | None = None
    deep: bool = False
    """Read every record and compare vectors; else only what the scans show to differ is read."""
    doubted: frozenset[str] = frozenset()
    """Peers whose own records are read wherever they say that they hold one: their last writes may have
    been broken off half-way, which a scan does not show."""
    repair: bool = True
    """False: nothing is written, only counted."""
    forgotten: int = 0
    """Tombstones below this version may have been collected: one that a peer lacks is not missing."""
    covered: Covered = not_covered
    embed: Embed | None = None
    """For memories that can be read, but of which no peer has a sound vector."""
    saved: Saved = not_saved
    """Awaited when a page is merged: a pass that dies goes on with ``since=progress.resume``."""
    more: Callable[[], bool] = unlimited
    """Asked when a page is merged; False ends this slice of the pass. Each slice does one page at least."""
    page: int = 1000
    """Entries of each peer that are in memory at a time."""
