"""How far drivers are behind, read from the journal and kept for a moment."""

from __future__ import annotations

import time
from collections.abc import Sequence

from backends.journal import Journal
from memrelay.errors import MemrelayError

FRESH = 0.05


class Backlog:
    """Searches ask for it many times a second: one read serves those of ``FRESH`` seconds."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[tuple[str, str, str], tuple[float, int]] = {}

    async def behind(self, namespace: str, source: str, drivers: Sequence[str]) -> int | None:
        """Accepted memories that the furthest behind of ``drivers`` has not applied; None without journal."""
        now = time.monotonic()
        keys = [(namespace, source, driver) for driver in drivers]
        known = [self._known.get(key, (0.0, 0)) for key in keys]
        if any(now - at > FRESH for at, _ in known):
            try:
                counts = await self._journal.backlog(namespace, source, drivers)
            except MemrelayError:
                return None
            known = [(now, counts[driver]) for driver in drivers]
            self._known.update(zip(keys, known, strict=True))
        return max(count for _, count in known)
