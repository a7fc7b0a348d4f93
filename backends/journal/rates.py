"""Rates: what happened to a namespace's memories, minute by minute, for the last day.

Counted by the scripts that accept and settle, so each memory once, however often it is delivered. It is
stored once the first driver of its source that is not away has it. The busy minutes of all namespaces are
bounded: beyond ``MOST_MINUTES`` (``scripts/common.lua``) the oldest go first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import BOUNDS_MS, PREFIX, Journal
from backends.journal.usage import clock

MINUTES = 1440
"""How many are kept."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds, estimated within the bounds of a histogram."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """``at`` is its begin, in milliseconds since 1970 of the journal's clock.

    ``failed`` are the memories that became dead letters; some drivers may have stored them all the same.
    ``searchable_ms``: from accepting until stored, of those stored in this minute; None if none were.
    """

    at: int
    accepted: int = 0
    stored: int = 0
    failed: int = 0
    searchable_ms: Percentiles | None = None


async def rates(journal: Journal, namespace: str, minutes: int) -> list[Minute]:
    """The last ``minutes`` minutes (1 to ``MINUTES``), oldest first; the last one is not over yet."""
    last = await clock(journal) // 60_000_000
    numbers = range(last - min(minutes, MINUTES) + 1, last + 1)
    with translated():
        async with journal.client.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.hgetall(f"{PREFIX}minute:{namespace}:{number}")
            rows = await pipe.execute()
    return [_minute(number, row) for number, row in zip(numbers, rows, strict=True)]


def _minute(number: int, row: Mapping[bytes, bytes]) -> Minute:
    counts = {name.decode(): int(value) for name, value in row.items()}
    return Minute(
        at=60_000 * number,
        accepted=counts.get("a", 0),
        stored=counts.get("s", 0),
        failed=counts.get("f", 0),
        searchable_ms=_percentiles([counts.get(f"t{bound}", 0) for bound in (*BOUNDS_MS, "inf")]),
    )


def _percentiles(buckets: Sequence[int]) -> Percentiles | None:
    if not any(buckets):
        return None
    return Percentiles(_quantile(buckets, 0.5), _quantile(buckets, 0.95))


def _quantile(buckets: Sequence[int], share: float) -> float:
    """Linear within its bucket; beyond the last bound, that bound."""
    wanted = share * sum(buckets)
    below = 0
    lower = 0
    for bound, count in zip(BOUNDS_MS, buckets, strict=False):
        if count and below + count >= wanted:
            return round(lower + (bound - lower) * (wanted - below) / count, 1)
        below += count
        lower = bound
    return cast(float, BOUNDS_MS[-1])
