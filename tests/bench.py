"""A worker's room in the test's own process: a real journal, two SQLite stores that fail on schedule."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from backends.journal import (
    Claim,
    Drop,
    DropWhere,
    Entered,
    Journal,
    Put,
    ThreadJournal,
    Unit,
    encode_write,
)
from backends.journal.jobs import read_job
from backends.journal.journal import PREFIX
from backends.journal.members import enter
from memrelay.batching import pack
from memrelay.driver import Driver
from memrelay.jobs import Job, JobId
from memrelay.settings import Settings, SourceSettings
from memrelay.testing.faulty import Fault, FaultyDriver, no_faults, scripted
from memrelay.types import Memory, Scope
from workers.batch import unpack
from workers.deliver import deliver
from workers.room import Room

NAMESPACE = "ns"
QUEUE = "deliver.interactive"
LEASE_MS = 60


class Bench:
    """Drivers ``a`` (the primary) and ``b``, or more; one source, and the queues of a worker."""

    def __init__(
        self,
        journal_url: str,
        directory: Path,
        *,
        names: str = "ab",
        queue: str = QUEUE,
        **settings: Any,
    ) -> None:
        self._queue = queue
        drivers = {
            name: {"type": "sqlite", "path": str(directory / f"{name}.db")} for name in names
        }
        sources = {"default": SourceSettings(drivers=[*names], filterable={"kind": "string"})}
        self.room = Room(
            Settings(
                journal_url=journal_url,
                broker_url=journal_url,
                drivers=drivers,
                sources=sources,
                **settings,
            )
        )
        self.journal = self.room.journal
        self.drivers: dict[str, FaultyDriver] = {}
        for name, store in self.room.sources.stores.items():
            self.drivers[name] = FaultyDriver(store.driver)
            store.driver = self.drivers[name]
        self.configured = [*names]
        """The drivers that the API which takes memories in has in its settings."""
        self._sweeper = ThreadJournal(journal_url)
        self._dying = Journal(journal_url, lease_ms=LEASE_MS)
        self.run(self.journal.client.flushdb())

    def close(self) -> None:
        self.run(self._dying.close())
        self._sweeper.close()
        self.room.close()

    def run[T](self, work: Any) -> Any:
        return self.room.run(_awaited(work))

    @property
    def scope(self) -> Scope:
        return self.room.sources.by_name["default"].scope(NAMESPACE)

    def put(self, *ids: str, **fields: Any) -> int:
        """The first version of new memories, each with a text of its own; ``fields`` are all of theirs."""
        values = {"user_id": None, "metadata": {}, "expires_at": None, "text": ""} | fields
        writes = [
            encode_write(
                Put(
                    id,
                    values["text"] or f"the text of {id}",
                    values["user_id"],
                    None,
                    (),
                    values["metadata"],
                    1,
                    values["expires_at"],
                    None,
                )
            )
            for id in ids
        ]
        return self._enter(writes)

    def drop(self, *ids: str) -> int:
        return self._enter([encode_write(Drop(id)) for id in ids], drops=ids)

    def drop_where(self, chosen: object) -> int:
        text = json.dumps(chosen)
        return self._enter([encode_write(DropWhere(text))], scoped=text)

    def _enter(
        self, writes: Sequence[bytes], *, drops: Sequence[str] = (), scoped: str = ""
    ) -> int:
        drafts = pack([(writes, drops, ())])
        drafts[0].scoped = scoped
        unit = Unit(
            namespace=NAMESPACE,
            source="default",
            queue=self._queue,
            drivers=self.configured,
            drafts=drafts,
        )
        [answer] = self.run(self.journal.append([unit]))
        assert isinstance(answer, Entered), answer
        return answer.first

    def enter(self, names: str) -> None:
        """A process starts that has these drivers in its settings, and this one hears of it."""
        self.run(enter(self.journal, "default", [*names]))
        self.look()

    def look(self) -> None:
        """This process learns who the members are."""
        self.run(self.room.sources.look(self.journal))

    def fails(self, driver: str, *faults: Fault, method: str = "apply") -> None:
        """The next calls of a driver fail so; the calls after them do not."""
        self.drivers[driver].schedule = scripted({method: faults})

    def heal(self, driver: str) -> None:
        """It works again, and this process has noticed."""
        self.drivers[driver].schedule = no_faults
        self.room.sources.stores[driver].breaker.succeeded()

    def deliver(self, queue: str = QUEUE) -> int:
        return int(self.run(deliver(self.room, queue)))

    def sweep(self) -> None:
        self.run(self.journal.client.delete(f"{PREFIX}sweeping"))
        self._sweeper.sweep("bench")

    def make_due(self) -> None:
        """What waits for its time need not wait any longer."""
        for member in self.run(self.journal.client.zrange(f"{PREFIX}due", 0, -1)):
            self.run(self.journal.client.zadd(f"{PREFIX}due", {member: 0}))
        self.sweep()

    def work(self, rounds: int = 30) -> None:
        """Everything that there is to do, without waiting for its time."""
        queues = [QUEUE, *(f"store.{name}" for name in self.drivers)]
        for _ in range(rounds):
            self.make_due()
            while any(self.deliver(queue) for queue in queues):
                pass
            if not self.due():
                return

    def claim(self, queue: str = QUEUE) -> Claim | None:
        """Under a short lease, which nobody renews."""
        claim: Claim | None = self.run(self._dying.claim(queue, uuid4().hex))
        return claim

    def die(self, queue: str = QUEUE) -> list[int]:
        """A worker claims and dies; the versions that it was about to try."""
        claim = self.claim(queue)
        assert claim is not None
        self.let_leases_run_out()
        return tried(claim)

    def let_leases_run_out(self) -> None:
        time.sleep(LEASE_MS / 1000 + 0.01)
        self.sweep()

    def due(self) -> list[str]:
        return [m.decode() for m in self.run(self.journal.client.zrange(f"{PREFIX}due", 0, -1))]

    def held(self, driver: str, *ids: str) -> dict[str, Memory]:
        async def get(ready: Driver) -> dict[str, Memory]:
            return dict(await ready.get(self.scope, ids))

        store = self.room.sources.stores[driver]
        found: dict[str, Memory] = self.run(store.call(self.scope, get))
        return found

    def job(self, first: int, count: int = 1) -> Job:
        job: Job | None = self.run(read_job(self.journal, NAMESPACE, str(JobId(first, count))))
        assert job is not None
        return job


def tried(claim: Claim) -> list[int]:
    """The versions that a worker tries in this claim."""
    return [
        item.version
        for item in unpack(claim)
        if not (item.left or item.letters or item.error is not None)
    ]


async def _awaited[T](work: Awaitable[T]) -> T:
    return await work


BenchMaker = Callable[..., Bench]
