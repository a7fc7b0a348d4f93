"""What goes into the journal and comes out of it, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backends.journal.envelope import Write
from memrelay.batching import Draft
from memrelay.errors import InvalidInput, MemrelayError, Transient


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what the journal takes in; ``rate`` is of memories a second, 0 for none."""

    bytes: int = 2 << 30
    memories: int = 2_000_000
    namespace_bytes: int = 1 << 30
    namespace_memories: int = 1_000_000
    rate: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Drafts which are entered together, under one idempotency key if there is one.

    ``answer`` is what a repetition of the request with the same key and ``body_hash`` gets back.
    ``expects`` has the version that must be the last noted one of an id (0: none) for it to be entered, and
    ``seen`` the newest delete by user or filter that there may be (None: any).
    """

    namespace: str
    source: str
    queue: str
    drivers: Sequence[str]
    drafts: Sequence[Draft]
    key: str = ""
    body_hash: str = ""
    answer: bytes = b""
    expects: Mapping[str, int] = field(default_factory=dict)
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class Entered:
    """A unit's first version. ``answer`` is that of the first request if this one repeats it."""

    first: int
    answer: bytes | None = None


class KeyReused(InvalidInput):
    """The idempotency key was used with another body."""

    code = "idempotency_key_reused"


class Changed(MemrelayError):
    """An id was written since it was looked at; nothing was entered."""

    code = "changed"


class Full(Transient):
    """The journal holds as much as it may, of all or of this namespace; nothing was entered."""

    code = "backpressure"


@dataclass(frozen=True, slots=True)
class Scoped:
    """A delete by user or filter: what ``filter`` matches below ``version`` is deleted.

    ``filter`` is JSON in the one filter language, or ``EVERYTHING``.
    """

    version: int
    filter: str


EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class SoFar:
    """What earlier tries have left of one driver: letters (``.`` where there is none yet) and errors."""

    outcomes: str
    errors: Sequence[tuple[int, str, str, str]]
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One envelope under our lease. ``vectors`` by position, if an earlier stage kept them.

    ``versions`` are a replay's (empty: they follow ``eid``). ``most`` is how many of its memories may
    be tried at once (0: all) and ``kills`` how often a single one of them has ended its worker.
    ``crashed``: a lease of it ran out once. ``traces``: traceparents of the requests that it came with.
    """

    eid: int
    attempts: int
    writes: Sequence[Write]
    vectors: Mapping[int, bytes] = field(default_factory=dict)
    versions: Sequence[int] = ()
    most: int = 0
    kills: int = 0
    crashed: bool = False
    so_far: Mapping[str, SoFar] = field(default_factory=dict)
    traces: Sequence[str] = ()

    def version(self, position: int) -> int:
        return self.versions[position] if self.versions else self.eid + position


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one task works on: envelopes of one namespace and source under one lease.

    ``away`` are the drivers that are detached, ``retired`` those that are not to come back, ``scoped`` the
    deletes by filter newer than its oldest memory, ``hurried`` whether bulk work has to be paced: single
    writes had to wait for a worker lately. ``epoch``: of the spaces of its source, see ``Spaces``.
    """

    token: str
    queue: str
    namespace: str
    source: str
    drivers: Sequence[str]
    envelopes: Sequence[Claimed]
    away: frozenset[str] = frozenset()
    retired: frozenset[str] = frozenset()
    epoch: str = "0"
    scoped: Sequence[Scoped] = ()
    hurried: bool = False

    @property
    def eids(self) -> list[int]:
        return [envelope.eid for envelope in self.envelopes]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverResult:
    """What one driver did with one envelope: one letter for each memory.

    ``a`` applied, ``s`` stale, ``f`` failed, ``n`` skipped (needs sync), ``.`` not yet: then ``later_ms``
    says when it is tried again. ``errors`` has (position, id, code, detail) of the failed. ``tried``:
    single memories failed for now while others went well. ``skip``: it is detached. ``cleared`` are the
    (id, version) that reads need not hide any more, ``lagging`` the (id, entry) that they must,
    ``scopes`` the deletes by filter that are done. ``span``: when it worked on them, from and to, by the
    monotonic clock of this process.
    """

    driver: str
    outcomes: str = ""
    errors: Sequence[tuple[int, str, str, str]] = ()
    later_ms: int = -1
    refund: bool = False
    tried: bool = False
    skip: bool = False
    cleared: Sequence[tuple[str, int]] = ()
    lagging: Sequence[tuple[str, str]] = ()
    scopes: Sequence[int] = ()
    span: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """One memory that some drivers give up: a dead letter. ``payload`` is its write, encoded."""

    version: int
    id: str
    stage: str
    code: str
    detail: str
    drivers: Sequence[str]
    attempts: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of a stage for one envelope, or ``again_ms`` until it is tried again.

    ``refund`` gives back the attempt (an open breaker costs none). ``progress``: a part of it went well.
    ``vectors`` (encoded) are kept for what is tried later.
    """

    eid: int
    results: Sequence[DriverResult] = ()
    again_ms: int = -1
    refund: bool = False
    progress: bool = False
    vectors: bytes = b""
    dead: Sequence[Burial] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The envelopes whose lease was lost, and those that have to look at newer deletes by filter first."""

    lost: Sequence[int]
    look: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What one settle adds to what ``stage`` took and refused; ``alarm``: why refusals are held back."""

    stage: str
    ok: int
    bad: int
    alarm: str = ""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep moved back among the waiting, and how much waits on each queue."""

    moved: Sequence[tuple[str, int]]
    waiting: Mapping[str, int]
    expired: int
    retried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What a read of one driver has to know.

    ``behind``: memories accepted that it has not applied. ``detached``: it does not serve. ``lag``: how
    many deletes and changes it has not applied. ``scoped``: deletes by filter that it has not applied.
    ``entries``: for the ids asked for, (version, digest of the user or ``d`` for a delete) of the
    newest write that it has not applied, or has applied only lately. ``some``: there are such entries, of
    whatever ids. ``space``: that of the source, as ``Spaces.active``.
    """

    behind: int
    detached: bool
    lag: int
    scoped: Sequence[Scoped]
    entries: Mapping[str, tuple[int, str]]
    space: str = ""
    some: bool = False
