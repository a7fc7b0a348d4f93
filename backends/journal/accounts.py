"""The journal's side of the equation: what was accepted for each driver, and how each memory ended there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Of one driver in one source of one namespace, in memories, since the journal began.

    ``superseded``: a newer write was there first. ``failed`` ones are or were dead letters.
    ``canceled`` are not there on demand.
    """

    accepted: int
    applied: int
    superseded: int
    failed: int
    needs_sync: int
    canceled: int
    in_flight: int

    @property
    def balanced(self) -> bool:
        """Nothing has vanished from the journal."""
        ended = self.applied + self.superseded + self.failed + self.needs_sync + self.canceled
        return self.accepted == ended + self.in_flight


async def accounts(
    journal: Journal, namespace: str, source: str, drivers: Sequence[str]
) -> Mapping[str, Account]:
    """Read at one moment."""
    kinds = ("accepted", "a", "s", "f", "n", "c")
    fields = [f"{namespace}|{source}|{driver}|{kind}" for driver in drivers for kind in kinds]
    places = [f"{namespace}|{source}|{driver}" for driver in drivers]
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.hmget(f"{PREFIX}acct", fields)
            pipe.hmget(f"{PREFIX}backlog", places)
            counts, backlog = await pipe.execute()
    numbers = [int(count or 0) for count in cast(Sequence[bytes | None], counts)]
    rows = zip(drivers, range(0, len(numbers), len(kinds)), backlog, strict=True)
    return {
        driver: Account(
            accepted=numbers[at],
            applied=numbers[at + 1],
            superseded=numbers[at + 2],
            failed=numbers[at + 3],
            needs_sync=numbers[at + 4],
            canceled=numbers[at + 5],
            in_flight=int(waiting or 0),
        )
        for driver, at, waiting in rows
    }
