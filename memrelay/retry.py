"""The retry decision is a value: an error and an attempt in, what to do out."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from memrelay.errors import Transient


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential with full jitter above half: attempt 1 waits ``first`` seconds, at most ``longest``."""

    first: float = 0.5
    longest: float = 60.0

    def delay(self, attempt: int, error: Transient, random: Random) -> float:
        """Seconds until the next attempt; never less than the peer asked for."""
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt - 1, 30))
        waited = ceiling * (0.5 + random.random() / 2)
        return max(waited, error.retry_after or 0.0)
