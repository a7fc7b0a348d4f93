"""A limit on requests and tokens a minute, kept by waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memrelay.errors import Transient


class Bucket:
    """Holds one second's worth of a rate, and at least one unit. ``clock`` is monotonic seconds."""

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._rate = per_minute / 60
        self._room = max(1.0, self._rate)
        self._level = self._room
        self._clock = clock
        self._filled_at = clock()

    def take(self, amount: float) -> float:
        """Seconds to wait before using ``amount``. Later takers wait behind: the level goes negative."""
        now = self._clock()
        self._level = min(self._room, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        self._level -= amount
        return max(0.0, -self._level / self._rate)

    def give_back(self, amount: float) -> None:
        self._level = min(self._room, self._level + amount)


class Limiter:
    """One for each model in a process; a limit of None is none.

    Not shared across processes: with n of them, give each an n-th of what the provider allows.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        longest_wait: float = 5.0,
    ) -> None:
        self._requests = Bucket(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, clock) if tokens_per_minute else None
        self._longest_wait = longest_wait

    async def admit(self, tokens: int) -> None:
        """Return when a call of ``tokens`` may go.

        ``Transient`` with ``retry_after`` at once if that would take more than ``longest_wait``
        seconds: the caller holds a lease, or a search that somebody waits for.
        """
        wait = self._take(tokens)
        if wait > self._longest_wait:
            raise Transient(
                f"the rate limit of the model is used up for {wait:.0f} s",
                code="embedding_rate",
                retry_after=wait,
            )
        if wait > 0:
            await asyncio.sleep(wait)

    def _take(self, tokens: int) -> float:
        charges = [
            (bucket, amount)
            for bucket, amount in ((self._requests, 1), (self._tokens, tokens))
            if bucket is not None
        ]
        wait = max((bucket.take(amount) for bucket, amount in charges), default=0.0)
        if wait > self._longest_wait:
            for bucket, amount in charges:
                bucket.give_back(amount)
        return wait
