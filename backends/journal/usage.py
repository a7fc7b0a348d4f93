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


@dataclass(frozen=True, slots=True)
class Consumed:
    """What was ever accepted of a namespace, deletes aside. ``embedding_tokens`` are those of the texts that
    workers had embedded, estimated at three bytes each; what is embedded again counts again."""

    memories: int
    bytes: int
    embedding_tokens: int


async def consumed(journal: Journal, namespace: str) -> Consumed:
    kinds = ("memories", "bytes", "tokens")
    with translated():
        counts = await journal.client.hmget(
            f"{PREFIX}used", [f"{kind}|{namespace}" for kind in kinds]
        )
    return Consumed(*(int(count or 0) for count in cast(Sequence[bytes | None], counts)))


async def count_tokens(journal: Journal, namespace: str, tokens: int) -> None:
    """Texts of so many tokens were embedded."""
    with translated():
        await journal.client.hincrby(f"{PREFIX}used", f"tokens|{namespace}", tokens)


async def clock(journal: Journal) -> int:
    """Microseconds since 1970 by the journal's clock, which dates everything in it."""
    with translated():
        seconds, microseconds = await journal.client.time()
    return 1_000_000 * int(seconds) + int(microseconds)
