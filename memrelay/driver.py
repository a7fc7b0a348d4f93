"""The driver contract: our code for one store. Drivers do not know each other, nor Celery, nor HTTP.

Every method is async. A driver raises only ``Transient`` (the whole call may be repeated),
``Permanent`` (repeating is useless) and ``Unsupported``; its client's own exceptions are translated
in its ``errors.py``. One bad memory among many is an ``Outcome``, never an exception.
The conformance suite in ``memrelay.testing`` holds every driver to this page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from memrelay.filters import Filter
from memrelay.types import Delete, Hit, Memory, Op, Outcome, Page, Scope

SearchMode = Literal["semantic", "keyword"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a driver declares. A declared capability works; an undeclared one raises ``Unsupported``."""

    keyword: bool = False
    """``search`` with ``mode="keyword"``."""
    unscoped_search: bool = True
    """``search`` over any number of users, without a ``user_id`` in the filter."""
    atomic_versions: bool = True
    """Highest version wins inside the store; if not, concurrent applies of one id need a recheck."""
    survives_kill: bool = True
    """What it acknowledged is there, and found, after its server was killed; if not, the last of it needs a
    recheck."""
    filtered_find: bool = True
    """``find`` filters in the store; if not, a page with a rare match in it takes as long as the whole scope
    (but for filters that name users or ids), and listings and deletes by filter go through the scope part by
    part, without a filter."""
    local_only: bool = False
    """The store is a file of one machine."""
    max_dimensions: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One search of one driver.

    ``semantic`` needs ``vector`` (float32 bytes of the space's dimension); hits come by descending
    cosine, ties by id. ``keyword`` needs ``text``; hits come by descending keyword score, ties by id.
    Memories expired at ``now`` (microseconds) never appear. ``min_score`` is inclusive.
    """

    mode: SearchMode
    top_k: int
    now: int
    vector: bytes | None = None
    text: str | None = None
    filter: Filter | None = None
    min_score: float | None = None
    include_vector: bool = False


class Driver(Protocol):
    """One store. ``open`` before use, ``close`` after; both on the loop that uses the driver."""

    name: str
    capabilities: Capabilities

    async def open(self) -> None:
        """Connect lazily or at once; raises ``Transient`` when the store cannot be reached."""
        ...

    async def close(self) -> None:
        """Give everything back; a second call does nothing."""
        ...

    async def ping(self) -> None:
        """Return when the store answers and can serve; raise ``Transient`` otherwise."""
        ...

    async def ensure(self, scope: Scope) -> None:
        """Create what ``scope`` needs in the store. Idempotent, safe when many call it at once."""
        ...

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        """Apply at most 512 ops, one for each id, in any order; the answer has an outcome for each id.

        Highest version wins, a delete is a version too. An equal version is redone, mends what is
        damaged and is ``applied``; a delete wins over an upsert of its own version.
        """
        ...

    async def get(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
        """The live memories among at most 1,000 ``ids``; expired ones too, tombstones not."""
        ...

    async def search(self, scope: Scope, query: Query) -> Sequence[Hit]:
        """At most ``query.top_k`` hits that pass the filter exactly; fewer only if there are no more."""
        ...

    async def scan(
        self, scope: Scope, *, since: int = 0, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        """Live memories and tombstones of version ``since`` and above in (version, id) order.

        ``cursor`` (of an earlier page with the same ``since``) goes on from there. What is written
        behind the cursor while a scan runs is not seen; what stood still is, once.
        """
        ...

    async def records(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
        """What is held of at most 512 ``ids``, as the ops that would write it again, vectors included.

        Left out is an id of which nothing is held, and one whose record is damaged: it cannot be
        read, its digest is not the one that ``scan`` gives, its vector is missing or of another
        dimension, or a search would not find it. Applying a sound op of the same version mends it.
        """
        ...

    async def find(
        self, scope: Scope, filter: Filter | None, *, after: str | None = None, limit: int = 512
    ) -> Sequence[Memory]:
        """Live memories that pass ``filter`` exactly, expired ones too, in the order of their ids.

        Ids order by code point, and begin above ``after``. Fewer than ``limit`` only at the end.
        """
        ...

    async def expired(self, scope: Scope, *, now: int, limit: int = 512) -> Sequence[Delete]:
        """At most ``limit`` live memories that are expired at ``now``, as the deletes of their own
        versions: applying these leaves tombstones in their place."""
        ...

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        """Remove for good at most ``limit`` tombstones of versions below ``before``; how many it were."""
        ...

    async def count(self, scope: Scope, filter: Filter | None, *, now: int) -> int:
        """How many live, unexpired memories pass ``filter``; exact."""
        ...

    async def purge(self, scope: Scope) -> None:
        """Remove everything of ``scope``, tombstones included. Nothing of another scope is touched."""
        ...
