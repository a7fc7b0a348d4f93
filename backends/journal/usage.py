"""What the journal holds of a namespace, and what its clock says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal


@dataclass(frozen=True, slots=True)
class Usage:
    """Memories accepted and not stored everywhere yet; bytes of these, and of dead letters."""

    memories: int
    bytes: int


async def usage(journal: Journal, namespace: str) -> Usage:
    with translated():
        counts = await journal.client.hmget(
            f"{PREFIX}use", [f"memories|{namespace}", f"bytes|{namespace}"]
        )
    memories, size = (int(count or 0) for count in cast(Sequence[bytes | None], counts))
    return Usage(memories, size)


async def clock(journal: Journal) -> int:
    """Microseconds since 1970 by the journal's clock, which dates everything in it."""
    with translated():
        seconds, microseconds = await journal.client.time()
    return 1_000_000 * int(seconds) + int(microseconds)
