"""``hybrid``: one primary that takes the writes, and replicas that get them and answer when it cannot."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from memrelay.breaker import Breaker
from memrelay.compat.memory_driver.base import BaseMemoryDriver, NewMemory, PartlyStored
from memrelay.compat.memory_driver.manager import MemoryDriverManager
from memrelay.compat.memory_driver.outbox import Change, Entry, Outbox, Removal
from memrelay.compat.memory_driver.record import Kind, Record, from_dict
from memrelay.compat.memory_driver.settings import Settings
from memrelay.compat.memory_driver.shelved import ShelfDriver
from memrelay.errors import ConfigError, InvalidInput, MemrelayError, Permanent

BATCH = 100
MOST_HIDDEN = 100
"""Ids that are asked for beyond ``top_k`` because they have to be hidden."""
GUILTY = (ValueError, TypeError, InvalidInput, Permanent)
"""What is wrong with the call itself: another driver would not do better."""
REFUSALS = (Permanent, InvalidInput)
"""What a replica says of a change that it will never take."""

log = logging.getLogger("memrelay.memory_driver")

Answer = list[dict[str, Any]]


class HybridDriver(BaseMemoryDriver):
    """``MEMORY_HYBRID_DRIVERS``: the primary and its replicas; ``MEMORY_HYBRID_READS``: who is asked first.

    A write succeeds when the primary has it. What a replica has not taken waits in the outbox, a file, and
    is brought to it with the next call or by ``repair``; what it refuses for good stays there and is
    counted by ``health_check``. A replica that is behind is asked last, and what it has still to delete is
    not shown. Drivers are given all arguments by name: the primary may be anybody's.
    """

    def __init__(
        self,
        drivers: Mapping[str, BaseMemoryDriver] | None = None,
        *,
        reads: Sequence[str] = (),
        outbox: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = Settings()
        names = settings.MEMORY_HYBRID_DRIVERS
        self._drivers = _named(names) if drivers is None else dict(drivers)
        self._reads = tuple(reads or settings.MEMORY_HYBRID_READS or self._drivers)
        self._primary, *self._replicas = _checked(self._drivers, self._reads)
        self._outbox = Outbox(outbox or Path(settings.MEMORY_HYBRID_OUTBOX))
        self._breakers = {name: Breaker(clock, failures=1) for name in self._drivers}

    def recall(
        self,
        user_id: str,
        conversation_id: str | None = None,
        query: str | None = None,
        top_k: int = 10,
        use_vector: bool = True,
        exclude_tags: list[str] | None = None,
    ) -> Answer:
        return self._read(
            top_k,
            lambda driver, count: driver.recall(
                user_id=user_id,
                conversation_id=conversation_id,
                query=query,
                top_k=count,
                use_vector=use_vector,
                exclude_tags=exclude_tags,
            ),
        )

    def recall_global_knowledge(
        self, query: str, top_k: int = 5, category: str | None = None
    ) -> Answer:
        return self._read(
            top_k,
            lambda driver, count: driver.recall_global_knowledge(
                query=query, top_k=count, category=category
            ),
        )

    def store(
        self,
        user_id: str,
        content: str,
        conversation_id: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        stored = self._first.store(
            user_id=user_id,
            content=content,
            conversation_id=conversation_id,
            tags=tags,
            metadata=metadata,
        )
        self._replicate_stored("memories", [stored])
        return stored

    def store_many(self, memories: Sequence[NewMemory]) -> Answer:
        try:
            stored = self._first.store_many(memories)
        except PartlyStored as error:
            self._replicate_stored("memories", error.stored.values())
            raise
        self._replicate_stored("memories", stored)
        return stored

    def store_global_knowledge(
        self,
        content: str,
        category: str,
        title: str | None = None,
        doc_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        stored = self._first.store_global_knowledge(
            content=content, category=category, title=title, doc_id=doc_id, metadata=metadata
        )
        self._replicate_stored("global_knowledge", [stored])
        return stored

    def delete(self, memory_id: str, user_id: str | None = None) -> bool:
        deleted = self._first.delete(memory_id=memory_id, user_id=user_id)
        if deleted:
            owner = None if user_id is None else str(user_id)
            self._replicate([Removal(str(memory_id), owner)])
        return deleted

    def health_check(self) -> dict[str, Any]:
        """``degraded`` where something is away or behind that others make up for."""
        drivers = {name: driver.health_check() for name, driver in self._drivers.items()}
        well = [name for name, found in drivers.items() if found.get("status") == "healthy"]
        behind = {name: self._outbox.waiting(name) for name in self._replicas}
        refused = {name: self._outbox.refused(name) for name in self._replicas}
        whole = len(well) == len(drivers) and not any((*behind.values(), *refused.values()))
        status = "healthy" if whole else "degraded" if well else "unhealthy"
        return {
            "driver": "hybrid",
            "status": status,
            "connected": bool(well),
            "drivers": drivers,
            "behind": behind,
            "refused": refused,
        }

    def repair(self) -> dict[str, int]:
        """Bring replicas what they miss, now; how many changes each of them misses afterwards."""
        for name in self._replicas:
            self._deliver(name)
        return {name: self._outbox.waiting(name) for name in self._replicas}

    def close(self) -> None:
        for driver in self._drivers.values():
            driver.close()

    @property
    def _first(self) -> BaseMemoryDriver:
        return self._drivers[self._primary]

    def _read(self, top_k: int, ask: Callable[[BaseMemoryDriver, int], Answer]) -> Answer:
        """The first answer; if there is none, the first error."""
        first: Exception | None = None
        for name in self._order():
            hidden = self._outbox.deleted(name) if name != self._primary else set()
            count = top_k + min(len(hidden), MOST_HIDDEN) if hidden else top_k
            try:
                answer = ask(self._drivers[name], count)
            except GUILTY:
                raise
            except Exception as error:  # a driver may be a stranger's: the next one is asked
                log.warning("hybrid: %s cannot answer: %s", name, error)
                self._breakers[name].failed()
                first = first or error
                continue
            self._breakers[name].succeeded()
            return [memory for memory in answer if memory.get("id") not in hidden][:top_k]
        assert first is not None
        raise first

    def _order(self) -> list[str]:
        """Those first that are up to date; those last that rest after a failure."""
        behind = set()
        for name in self._replicas:
            if self._outbox.waiting(name):
                self._bring(name)
                behind |= {name} if self._outbox.waiting(name) else set()
        ordered = sorted(self._reads, key=lambda name: name in behind)
        resting = {name for name in ordered if not self._breakers[name].allows()}
        return sorted(ordered, key=lambda name: name in resting)

    def _replicate_stored(self, kind: Kind, stored: Iterable[dict[str, Any]]) -> None:
        self._replicate([from_dict(kind, memory) for memory in stored])

    def _replicate(self, changes: Sequence[Change]) -> None:
        """Never raises for a replica: the primary has it, and the outbox."""
        if changes:
            self._outbox.add(self._replicas, changes)
        for name in self._replicas:
            self._bring(name)

    def _bring(self, name: str) -> None:
        if self._breakers[name].allows():
            self._deliver(name)

    def _deliver(self, name: str) -> None:
        with self._outbox.turn(name):
            try:
                while entries := self._outbox.first(name, BATCH):
                    self._apply(name, entries)
            except Exception as error:  # a driver may be a stranger's; it stays in the outbox
                log.warning("hybrid: replica %s is behind: %s", name, error)
                self._breakers[name].failed()
                return
            self._breakers[name].succeeded()

    def _apply(self, name: str, entries: Sequence[Entry]) -> None:
        """In order, those that are alike at once. Raises where the replica cannot take them now."""
        driver = self._drivers[name]
        assert isinstance(driver, ShelfDriver)
        for removals, alike in groupby(entries, lambda entry: isinstance(entry.change, Removal)):
            for part in ([entry] for entry in alike) if removals else [list(alike)]:
                self._take(driver, part)

    def _take(self, driver: ShelfDriver, entries: Sequence[Entry]) -> None:
        """Done, or refused for good; of several that are refused together each is tried by itself."""
        try:
            results = _taken(driver, [entry.change for entry in entries])
        except REFUSALS as error:
            results = [error] if len(entries) == 1 else []
        for entry in entries if not results else ():
            self._take(driver, [entry])
        for entry, result in zip(entries, results, strict=False):
            if isinstance(result, REFUSALS):
                log.error("hybrid: %s refuses %s: %s", driver.name, entry.change.id, result)
                self._outbox.refuse(entry, str(result))
            elif isinstance(result, MemrelayError):
                raise result
            else:
                self._outbox.done([entry])


def _taken(driver: ShelfDriver, changes: Sequence[Change]) -> Sequence[object]:
    """What became of each: an error that the driver has for it, or anything else."""
    [first, *_] = changes
    if isinstance(first, Removal):
        return [driver.delete(first.id, first.user_id)]
    return driver.put([change for change in changes if isinstance(change, Record)])


def _named(names: Sequence[str]) -> dict[str, BaseMemoryDriver]:
    if "hybrid" in names:
        raise ConfigError("MEMORY_HYBRID_DRIVERS: hybrid cannot be one of its own drivers")
    return {name: MemoryDriverManager.plain_driver(name) for name in names}


def _checked(drivers: Mapping[str, BaseMemoryDriver], reads: Sequence[str]) -> list[str]:
    """The names in order."""
    if len(drivers) < 2:
        raise ConfigError(
            "MEMORY_HYBRID_DRIVERS: name the primary and at least one replica, such as pgvector,redis"
        )
    unknown = set(reads) - set(drivers)
    if unknown:
        raise ConfigError(
            f"MEMORY_HYBRID_READS names what is not in MEMORY_HYBRID_DRIVERS: {', '.join(unknown)}"
        )
    _, *replicas = drivers
    for name in replicas:
        if not isinstance(drivers[name], ShelfDriver):
            raise ConfigError(
                f"hybrid: {name} cannot be a replica, which takes memories under their ids "
                "(put); as the first it may be any driver"
            )
    return list(drivers)
