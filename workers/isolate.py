"""Bisection: when a call over many items fails for good, find the guilty ones and spare the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from memrelay.errors import Permanent, Transient

SAME_REFUSALS = 8


async def isolate[T](
    items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[None]]
) -> list[tuple[T, Permanent]]:
    """Run ``call`` on all items, in halves where it raises ``Permanent``; the guilty are returned.

    One guilty item among n costs about 2 log2(n) further calls. When the first ``SAME_REFUSALS`` single
    items all turn out guilty and nothing has succeeded, it is a setting rather than the items:
    ``Transient`` is raised, and nothing is given up.
    """
    guilty: list[tuple[T, Permanent]] = []
    succeeded = False
    pending = [list(items)] if items else []
    while pending:
        part = pending.pop()
        try:
            await call(part)
            succeeded = True
        except Permanent as error:
            if len(part) > 1:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
                continue
            guilty.append((part[0], error))
            if len(guilty) >= SAME_REFUSALS and not succeeded:
                raise Transient(
                    f"everything is refused, which looks like a setting: {error}",
                    code="all_refused",
                ) from error
    return guilty
