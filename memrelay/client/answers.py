"""What the service answers, typed and frozen. What a newer service adds is left aside."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from memrelay.jobs import ENDED, DriverCounts, JobStatus, MemoryFailure
from memrelay.types import Lane


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Version(Answer):
    """One accepted write of one memory."""

    id: str
    version: int


class Job(Answer):
    """What became of one request. ``counts`` by driver, the primary first; ``errors`` are the first ones."""

    id: str
    status: JobStatus
    source: str = "default"
    lane: Lane = "interactive"
    total: int = 0
    counts: dict[str, DriverCounts] = {}
    errors: tuple[MemoryFailure, ...] = ()
    accepted_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def primary(self) -> DriverCounts:
        """Of the first driver of its source; all zero while the job is only accepted."""
        nothing = DriverCounts(total=self.total, stored=0, failed=0)
        return next(iter(self.counts.values()), nothing)

    @property
    def settled(self) -> bool:
        """The primary holds every memory, or ``errors`` say why not."""
        return self.primary.stored + self.primary.failed == self.total


class JobPage(Answer):
    """Jobs, newest first; ``cursor`` is None at the end."""

    jobs: tuple[Job, ...]
    cursor: str | None


class Accepted(Answer):
    """A write that the service will not lose: its job, and the memories in the order of the request."""

    job: Job
    memories: tuple[Version, ...]


class StoredMemory(Answer):
    """One memory as it is stored. ``text`` and ``metadata`` are None where a search left them out."""

    id: str
    text: str | None = None
    user_id: str | None
    session_id: str | None
    source: str
    tags: tuple[str, ...]
    metadata: dict[str, Any] | None = None
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    version: int


class Hit(StoredMemory):
    """One answer of a search, with its score in the mode that served."""

    score: float
    vector: tuple[float, ...] | None = None


class SearchAnswer(Answer):
    """Hits by descending score, and how they were found.

    ``behind``: accepted memories that the drivers which served have not applied yet; None if unknown.
    """

    hits: tuple[Hit, ...]
    mode: str
    served_by: tuple[str, ...]
    fallback: bool
    behind: int | None
    took_ms: float


class Count(Answer):
    """How many live memories a selection has."""

    count: int
    served_by: tuple[str, ...]
    fallback: bool
    behind: int | None


class Readiness(Answer):
    """Whether writes are accepted and searches served; ``drivers`` by name."""

    accept: bool
    search: bool
    drivers: dict[str, bool]
