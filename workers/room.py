"""What one worker process works with: its event loop, journal, sources and leases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from math import inf
from random import Random
from typing import Any

from backends.embedding.cache import CachedEmbedder, EmbeddingCache
from backends.embedding.counted import CountedEmbedder
from backends.journal import Journal, ThreadJournal
from backends.journal.locks import Locks
from backends.metrics import SECONDS
from backends.sources import Sources, open_sources
from memrelay.embedder import Embedder
from memrelay.errors import Transient
from memrelay.pacing import Pace
from memrelay.retry import Backoff
from memrelay.settings import Settings
from memrelay.types import Space
from workers.leases import LeaseKeeper


class Room:
    """Made after the fork, closed before the process ends. ``run`` is how a task gets on the loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.loop = asyncio.new_event_loop()
        self.journal: Journal
        self.sources: Sources
        self.locks: Locks
        self.pace: Pace
        self.counts: Counter[str] = Counter()
        """What is to be added to the journal's totals with the next settle."""
        self.deleted_up_to: dict[tuple[str, Space, int], str | None] = {}
        """How far a delete by filter that has not ended has come, as an id; by driver, space and version."""
        self._backoff = Backoff()
        self._random = Random()
        self.loop.run_until_complete(self._open(settings))
        self.leases = LeaseKeeper(
            ThreadJournal(settings.journal_url), self.locks, seconds=self.journal.lease_ms / 1000
        )

    async def _open(self, settings: Settings) -> None:
        self.journal = Journal(settings.journal_url, detach_at=settings.driver_backlog)
        self.locks = Locks(self.journal)
        self.pace = Pace(lambda: self.journal.hurried, share=settings.bulk_share)
        self.sources = await open_sources(
            settings, lambda embedder: self._cached(embedder, settings)
        )

    def _cached(self, embedder: Embedder, settings: Settings) -> Embedder:
        """Remote models' vectors are kept in the journal's Redis; a local model is quicker than that."""
        counted = CountedEmbedder(embedder, self.counts)
        if embedder.space.model.startswith("local/") or not settings.embedding_cache_bytes:
            return counted
        cache = EmbeddingCache(self.journal.client, max_bytes=settings.embedding_cache_bytes)
        return CachedEmbedder(counted, cache, self.counts)

    def observe(self, name: str, seconds: float) -> None:
        """One more value of a histogram: ``<name>|<bound, or inf>``, and ``<name>|sum`` in microseconds."""
        bound = next((bound for bound in SECONDS if seconds <= bound), inf)
        self.counts[f"{name}|{bound:g}"] += 1
        self.counts[f"{name}|sum"] += round(1e6 * seconds)

    def take_counts(self) -> Counter[str]:
        """What this process and its drivers have counted and not told yet."""
        taken = Counter(self.counts)
        self.counts.clear()
        for store in self.sources.stores.values():
            taken.update(store.counts)
            store.counts.clear()
        return taken

    def delay_ms(self, attempt: int, error: Transient) -> int:
        """Until the next attempt, with jitter; never less than the peer asked for."""
        return int(1000 * self._backoff.delay(attempt, error, self._random))

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.leases.stop()
        self.loop.run_until_complete(self._close())
        self.loop.close()

    async def _close(self) -> None:
        await self.sources.close()
        await self.journal.close()
