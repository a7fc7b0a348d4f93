"""What the service answers, typed and frozen. What a newer service adds is left aside."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from memrelay.apikeys import KeyScope
from memrelay.jobs import ENDED, DriverCounts, JobStatus, MemoryFailure
from memrelay.types import Lane


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Version(Answer):
    """One accepted write of one memory."""

    id: str
    version: int


class DriverTimings(Answer):
    """When one driver had the first and the last of a job's memories; None where it had none."""

    began_at: AwareDatetime | None
    last_at: AwareDatetime | None
    retries: int


class Timings(Answer):
    """When a worker began with a job, and how each driver got on with it."""

    started_at: AwareDatetime | None
    drivers: dict[str, DriverTimings]


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
    timings: Timings | None = None

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
        """The primary has an outcome for every memory: it holds them, or the job says why not."""
        return self.primary.ended


class JobPage(Answer):
    """Jobs, newest first; ``cursor`` is None at the end."""

    jobs: tuple[Job, ...]
    cursor: str | None


class Canceled(Answer):
    """How many memories were canceled, of how many jobs; ``more``: there were too many for one request."""

    jobs: int
    canceled: int
    more: bool


class Accepted(Answer):
    """A write that the service will not lose: its job, and the memories in the order of the request.

    ``version`` is that of a delete by user, session or filter: what was accepted before it is deleted.
    """

    job: Job
    memories: tuple[Version, ...]
    version: int | None = None


class Purge(Job):
    """The job that deletes everything of one source which was accepted before ``version``."""

    version: int


class Purged(Answer):
    """One job for each source."""

    jobs: tuple[Purge, ...]


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
    """One answer of a search, with its score in the mode that served, weighed by age if that was asked."""

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


class MemoryPage(Answer):
    """Memories in the order of their ids; ``cursor`` is None at the end, and only there."""

    memories: tuple[StoredMemory, ...]
    cursor: str | None
    served_by: tuple[str, ...]
    fallback: bool
    behind: int | None


class Count(Answer):
    """How many live memories a selection has."""

    count: int
    served_by: tuple[str, ...]
    fallback: bool
    behind: int | None


class SourceDriver(Answer):
    name: str
    type: str


class SourceInfo(Answer):
    """A named source. ``drivers``: the first is the primary. ``query_format`` is for people and agents."""

    name: str
    default: bool
    description: str
    drivers: tuple[SourceDriver, ...]
    embedding: str
    dimensions: int
    filterable: dict[str, str]
    options: dict[str, Any]
    capabilities: tuple[str, ...]
    query_format: dict[str, Any]


class Sources(Answer):
    sources: tuple[SourceInfo, ...]


class StoredKey(Answer):
    """A key as it was stored. ``stored``: it can be read from the primary; else it will be, see ``job``."""

    key: str
    version: int
    stored_at: AwareDatetime
    expires_at: AwareDatetime | None
    ttl_ms: int | None
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    job: Job | None = None

    @property
    def stored(self) -> bool:
        return self.job is None or self.job.settled


class KeyEntry(StoredKey):
    """A key with its value. ``score``: how well the value fits, where values were searched."""

    value: Any
    score: float | None = None


class KeyEntries(Answer):
    entries: dict[str, KeyEntry]


class KeyResults(Answer):
    results: tuple[KeyEntry, ...]


class StoredKeys(Answer):
    results: tuple[StoredKey, ...]
    job: Job


class DeletedKeys(Answer):
    deleted: int
    job: Job


class DeletedKey(Answer):
    key: str
    status: str = "deleted"
    job: Job


class KeyCount(Answer):
    count: int


class KeyPage(Answer):
    """Keys in order; ``cursor`` is None at the end."""

    keys: tuple[str, ...]
    cursor: str | None


class DeadMemory(Answer):
    """A look at a memory that was given up; ``text`` is the beginning of it."""

    text: str
    user_id: str | None
    session_id: str | None
    tags: tuple[str, ...]


class DeadLetter(Answer):
    """A write that ``drivers`` gave up, in the ``stage`` ``embed`` or ``store``; ``code`` is the cause.

    ``memory`` is None where it was a delete.
    """

    version: int
    id: str
    source: str
    stage: str
    code: str
    detail: str
    drivers: tuple[str, ...]
    attempts: int
    died_at: AwareDatetime
    memory: DeadMemory | None


class DeadLetterPage(Answer):
    """Dead letters, the newest version first; ``cursor`` is None at the end.

    ``causes`` has the number of each cause, ``alarms`` why the refusals of a stage are held back.
    """

    causes: dict[str, int]
    alarms: dict[str, str]
    dead_letters: tuple[DeadLetter, ...]
    cursor: str | None


class Replayed(Answer):
    """How many dead letters are on their road again; ``more``: there were too many for one request."""

    replayed: int
    jobs: tuple[Job, ...]
    more: bool


class Deleted(Answer):
    """How many dead letters were given up for good; ``more``: there were too many for one request."""

    deleted: int
    more: bool


class Resumed(Answer):
    """The stages whose alarm was ended."""

    resumed: tuple[str, ...]


class Sync(Answer):
    """One comparison of a driver with the others. ``report``: by source, what was found and repaired."""

    full: bool
    asked_at: AwareDatetime
    ended_at: AwareDatetime | None
    error: str | None
    report: dict[str, Any]


class Member(Answer):
    """How a driver stands in one source: ``whole``, ``away`` or ``syncing`` (it is filled before it serves),
    or ``retired``. ``sync``: how it was filled."""

    state: str
    sync: Sync | None


class DriverStatus(Answer):
    """One driver. ``state``: ``serving``, ``unreachable``, ``away`` (taken out) or ``syncing``.

    ``backlog``: memories that it has not applied, the oldest of them accepted ``oldest_seconds`` ago; of all
    namespaces, so None for a key that is not of the installation's own.
    ``held``: it stays out until ``sync_driver``. ``members`` by source, those included that it has left.
    """

    name: str
    type: str
    sources: tuple[str, ...]
    state: str
    answers: bool
    breaker: str
    backlog: int | None
    oldest_seconds: float | None
    alarm: str | None
    sync: Sync | None
    held: bool = False
    members: dict[str, Member] = {}


class Drivers(Answer):
    """Every driver."""

    drivers: tuple[DriverStatus, ...]


class SyncAsked(Answer):
    """``started`` is False if one was under way already: that is ``sync``."""

    name: str
    started: bool
    sync: Sync


class Detached(Answer):
    """``changed`` is False if it was out already."""

    name: str
    state: str
    changed: bool


class Membership(Answer):
    """How a driver stands in a source now; ``changed`` is False if it was so already."""

    name: str
    source: str
    state: str
    changed: bool


class Waiting(Answer):
    """What is accepted and not stored in every driver yet."""

    memories: int
    bytes: int


class Consumed(Answer):
    """What was ever accepted, deletes aside; ``embedding_tokens`` are estimated, three bytes each."""

    memories: int
    bytes: int
    embedding_tokens: int


class Usage(Answer):
    """What a namespace has in the service besides its stored memories, and what it has used."""

    namespace: str
    waiting: Waiting
    dead_letters: int
    total: Consumed


class KeyInfo(Answer):
    """An API key, without the key itself."""

    id: str
    namespace: str
    name: str
    scopes: tuple[KeyScope, ...]
    created_at: AwareDatetime
    used_at: AwareDatetime | None
    expires_at: AwareDatetime | None


class KeyInfos(Answer):
    keys: tuple[KeyInfo, ...]


class NewKey(KeyInfo):
    """An API key that was just made: ``key`` is told this once."""

    key: str = Field(repr=False)


class Readiness(Answer):
    """Whether writes are accepted and searches served; ``drivers`` by name."""

    accept: bool
    search: bool
    drivers: dict[str, bool]
