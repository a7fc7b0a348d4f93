"""Isolation: when a call over many items fails for good, find the guilty ones and spare the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from memrelay.errors import Permanent, Transient

SAME_REFUSALS = 8

type Call[T] = Callable[[Sequence[T]], Awaitable[None]]


async def isolate[T](items: Sequence[T], call: Call[T]) -> list[tuple[T, Permanent]]:
    """Run ``call`` on all items, in parts where it raises ``Permanent``; the guilty are returned.

    Nobody is found guilty but by a call of its own. One guilty item among n costs at most
    log2(n) + 2 further calls. When the first ``SAME_REFUSALS`` single items all turn out guilty, and the
    last one too, and nothing has succeeded, it is a setting rather than the items: ``Transient`` is
    raised, and nothing is given up.
    """
    guilty: list[tuple[T, Permanent]] = []
    succeeded = False
    untried = [list(items)] if items else []
    while untried:
        part = untried.pop()
        refusal = await _refusal(part, call)
        while refusal is not None and len(part) > 1:
            middle = len(part) // 2
            part, second = part[:middle], part[middle:]
            first_refusal = await _refusal(part, call)
            if first_refusal is not None:
                refusal = first_refusal
                untried.append(second)
                continue
            succeeded = True
            part = second  # refused as it was with the first half: no need to ask, unless it is one
            if len(part) == 1:
                refusal = await _refusal(part, call)
        succeeded = succeeded or refusal is None
        if refusal is not None:
            guilty.append((part[0], refusal))
        if succeeded:
            untried = [[item for rest in untried for item in rest]] if untried else []
        elif refusal is not None and len(guilty) == SAME_REFUSALS and untried:
            last = untried[0].pop()
            last_refusal = await _refusal([last], call)
            if last_refusal is not None:
                raise Transient(
                    f"everything is refused, which looks like a setting: {refusal}",
                    code="all_refused",
                ) from refusal
            succeeded = True
            untried = [[item for rest in untried for item in rest]]
    return guilty


async def _refusal[T](part: Sequence[T], call: Call[T]) -> Permanent | None:
    try:
        await call(part)
    except Permanent as error:
        return error
    return None
