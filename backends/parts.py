"""Going through what a filter selects, a part at a time: no call of a driver takes longer than that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from backends.reconcile.peer import Call
from memrelay.driver import Driver
from memrelay.filters import Filter, matches, required_values
from memrelay.types import Memory, Scope

PAGE = 512
"""Memories of a part, or among which it was looked."""


@dataclass(frozen=True, slots=True)
class Part:
    """Memories that a filter matches, how far they reach, and whether that is the end."""

    matching: Sequence[Memory]
    after: str | None
    ended: bool


async def parts(
    call: Call, scope: Scope, chosen: Filter | None, *, after: str | None = None
) -> AsyncIterator[Part]:
    """All that ``chosen`` matches from behind the id ``after`` on, each part by one call of the driver."""
    ended = False
    while not ended:
        part = await call(scope, partial(one_part, scope, chosen, after, PAGE))
        yield part
        after, ended = part.after, part.ended


async def one_part(
    scope: Scope, chosen: Filter | None, after: str | None, size: int, driver: Driver
) -> Part:
    """What ``chosen`` matches from behind the id ``after`` on: at most ``size``, or among ``size``."""
    asked = chosen if _is_quick(driver, chosen) else None
    found = await driver.find(scope, asked, after=after, limit=size)
    matching = found if asked is chosen else [one for one in found if matches(chosen, one)]
    return Part(matching, found[-1].id if found else after, len(found) < size)


def _is_quick(driver: Driver, chosen: Filter | None) -> bool:
    """Whether the driver need not look through the whole scope for what ``chosen`` matches."""
    return driver.capabilities.filtered_find or any(
        required_values(chosen, field) is not None for field in ("user_id", "id")
    )
