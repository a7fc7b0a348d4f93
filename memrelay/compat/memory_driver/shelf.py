"""What a memory driver of ours stands on: one store, on one event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from memrelay.compat.memory_driver.record import Found, Kind, Recall, Record
from memrelay.errors import MemrelayError

MOST = 500
"""Records that one ``put`` brings."""


class Shelf(Protocol):
    """Memories and documents, never one among the others. Raises ``MemrelayError`` alone."""

    async def open(self) -> None:
        """Connect; what fails here is tried again by the next call."""
        ...

    async def close(self) -> None: ...

    async def check(self) -> dict[str, Any]:
        """What a healthy one says of itself; raises otherwise."""
        ...

    async def put(self, records: Sequence[Record]) -> list[Record | MemrelayError]:
        """Store at most ``MOST``, in place of what has their ids; each with its id, or why it was not.

        A record without an id gets one, but for a document whose ``doc_id`` is known: it takes its place.
        """
        ...

    async def find(self, recall: Recall) -> list[Found]:
        """The best first; the newest if nothing is asked for."""
        ...

    async def remove(self, memory_id: str, user_id: str | None) -> bool:
        """Whether there was such a memory (of this user, if one is named)."""
        ...

    async def page(self, kind: Kind, after: str | None, limit: int) -> list[Record]:
        """At most ``limit`` (512) in the order of their ids, beginning above ``after``; none at the end."""
        ...
