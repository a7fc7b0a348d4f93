"""What API, workers and journal agree on: task and queue names, job ids, what a job looks like.

A job is a slice of its envelopes, not a key of its own: its id names the first version that its
request was given and how many memories it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from memrelay.types import LANES, Lane

DELIVER = "memrelay.deliver"
STORE = "memrelay.store"
MAINTAIN = "memrelay.maintain"
MAINTENANCE = "maintenance"
"""The queue of what has to be done for no envelope: expiry, reconcile, collecting tombstones."""

JobStatus = Literal["accepted", "processing", "stored", "partial", "failed", "canceled"]
ENDED: tuple[JobStatus, ...] = ("stored", "partial", "failed", "canceled")

MAX_COUNT = 1000
"""Memories that one request brings at most."""

_PREFIX = "job_"


def deliver_queue(lane: Lane) -> str:
    """The queue, and the stage, in which an envelope is embedded and stored."""
    return f"deliver.{lane}"


def store_queue(driver: str) -> str:
    """The queue, and the stage, for what ``driver`` did not take at once."""
    return f"store.{driver}"


def task_of(queue: str) -> str:
    """The task that works on ``queue``."""
    if queue == MAINTENANCE:
        return MAINTAIN
    return STORE if queue.startswith("store.") else DELIVER


def queue_names(drivers: Sequence[str]) -> list[str]:
    """All queues of an installation with these drivers, the urgent ones first."""
    stores = [store_queue(name) for name in drivers]
    return [deliver_queue(lane) for lane in LANES] + stores + [MAINTENANCE]


@dataclass(frozen=True, slots=True)
class JobId:
    """The versions ``first`` to ``first + count - 1``."""

    first: int
    count: int

    def __str__(self) -> str:
        return f"{_PREFIX}{self.first:x}_{self.count:x}"

    @classmethod
    def parse(cls, text: str) -> JobId | None:
        """None for anything that ``str`` of a job id cannot have been."""
        first, _, count = text.removeprefix(_PREFIX).partition("_")
        try:
            job = cls(int(first, 16), int(count, 16))
        except ValueError:
            return None
        known = 0 <= job.first < 2**53 and 0 < job.count <= MAX_COUNT
        return job if known and str(job) == text else None


@dataclass(frozen=True, slots=True)
class MemoryFailure:
    """One memory that a driver (or the embedding, before all drivers) refused for good."""

    id: str
    version: int
    driver: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCounts:
    """Of one job and driver. ``stored`` counts what is there at its version or a newer one.

    ``needs_sync``: the driver was detached, reconcile brings it these. ``canceled``: not stored, on demand.
    """

    total: int
    stored: int
    failed: int
    needs_sync: int = 0
    canceled: int = 0

    @property
    def ended(self) -> bool:
        """Every memory has an outcome."""
        return self.stored + self.failed + self.needs_sync + self.canceled == self.total


@dataclass(frozen=True, slots=True)
class Course:
    """How one driver got on with a job. Times in microseconds, None where it did not work on it.

    ``began_at``: with the first of its memories that have an outcome there; ``last_at``: when it was done
    with the latest. ``retries``: how often its share of an envelope was taken up again.
    """

    began_at: int | None
    last_at: int | None
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the caller holds. Times in microseconds; ``ended_at`` is None until its last stage ended.

    ``started_at``: when a worker took up the first of it. ``courses`` by driver.
    """

    id: str
    status: JobStatus
    source: str
    lane: Lane
    total: int
    primary: str
    counts: Mapping[str, DriverCounts]
    errors: Sequence[MemoryFailure] = field(default_factory=tuple)
    accepted_at: int
    started_at: int | None = None
    ended_at: int | None
    courses: Mapping[str, Course] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def primary_settled(self) -> bool:
        """The primary has an outcome for every memory: it holds them, or the job says why not."""
        return self.counts[self.primary].ended
