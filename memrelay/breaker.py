"""A circuit breaker: after some failures in a row the peer is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

BreakerState = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed: calls pass. Open: none do, for ``cooldown`` seconds. Half-open: one probe at a time.

    A failed probe doubles the cooldown up to ``longest``; a success closes and resets it.
    ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        failures: int = 3,
        cooldown: float = 1.0,
        longest: float = 15.0,
    ) -> None:
        self._clock = clock
        self._limit = failures
        self._first_cooldown = cooldown
        self._cooldown = cooldown
        self._longest = longest
        self._failures = 0
        self._open_until: float | None = None
        self._probe_since: float | None = None

    @property
    def state(self) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half-open"

    @property
    def remaining(self) -> float:
        """Seconds until the next probe is allowed; 0 unless open."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def allows(self) -> bool:
        """Whether a call may go now. In half-open, True makes the caller the probe."""
        if self.state == "closed":
            return True
        if self.state == "open":
            return False
        now = self._clock()
        if self._probe_since is not None and now - self._probe_since < self._longest:
            return False
        self._probe_since = now
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._open_until = None
        self._probe_since = None
        self._cooldown = self._first_cooldown

    def failed(self) -> None:
        self._failures += 1
        if self._open_until is not None:
            self._cooldown = min(self._cooldown * 2, self._longest)
        elif self._failures < self._limit:
            return
        self._open_until = self._clock() + self._cooldown
        self._probe_since = None
