"""Fallback: ask peers in order under one deadline; the next one on a transient failure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from memrelay.errors import Transient, Unavailable

FAILOVER = 1.5
"""Seconds after which a peer that does not answer is given up for the next one."""


@dataclass(frozen=True, slots=True)
class Answer[P, T]:
    """What ``peer`` said. ``fallback``: it was not the first that was asked."""

    peer: P
    value: T
    fallback: bool


async def first_answer[P, T](
    peers: Sequence[P],
    ask: Callable[[P, float], Awaitable[T]],
    *,
    deadline: float,
    clock: Callable[[], float],
) -> Answer[P, T]:
    """The first answer in the order of ``peers``. ``ask`` gets the seconds that it may take.

    A peer with others behind it gets ``FAILOVER`` seconds at most, the last one all that is left.
    Raises ``Unavailable`` when every peer failed; ``Permanent`` of a peer passes through.
    """
    reasons: list[str] = []
    for index, peer in enumerate(peers):
        left = deadline - clock()
        if left <= 0:
            reasons.append("the deadline has passed")
            break
        others = len(peers) - index - 1
        try:
            value = await ask(peer, min(left, FAILOVER) if others else left)
        except Transient as error:
            reasons.append(str(error))
            continue
        return Answer(peer, value, fallback=index > 0)
    raise Unavailable("no driver answered: " + "; ".join(reasons), code="no_driver")
