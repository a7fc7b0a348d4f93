"""What one claim holds: writes with their versions, collapsed to the highest version of each id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backends.journal import Claim, DriverResult, Drop, Put, Write
from memrelay.errors import MemrelayError
from memrelay.types import Delete, Op, Upsert

SUPERSEDED = b""
"""Kept in the place of a vector: a newer write was in the same claim, this one is not to be stored."""


@dataclass(slots=True)
class Item:
    """One write of one envelope, and what became of it before any driver saw it."""

    eid: int
    position: int
    write: Write
    source: str
    vector: bytes | None
    superseded: bool = False
    error: MemrelayError | None = None

    @property
    def version(self) -> int:
        return self.eid + self.position

    @property
    def text(self) -> str | None:
        """What has to be embedded still; None if nothing has."""
        wanted = isinstance(self.write, Put) and not self.superseded and self.vector is None
        return self.write.text if wanted and isinstance(self.write, Put) else None

    def op(self) -> Op | None:
        """What the drivers are to do; None for what is superseded or failed already."""
        if self.superseded or self.error is not None:
            return None
        if isinstance(self.write, Drop):
            return Delete(self.write.id, self.version)
        assert self.vector is not None
        return Upsert(self.write.memory(self.source, self.version), self.vector)


def unpack(claim: Claim) -> list[Item]:
    """All writes of a claim in (envelope, position) order; older writes of an id are superseded."""
    items = list(_items(claim))
    newest: dict[str, Item] = {}
    for item in items:
        other = newest.get(item.write.id)
        if other is None or item.version > other.version:
            newest[item.write.id] = item
    for item in items:
        item.superseded = item.superseded or newest[item.write.id] is not item
    return items


def _items(claim: Claim) -> Iterator[Item]:
    for envelope in claim.envelopes:
        for position, write in enumerate(envelope.writes):
            vector = envelope.vectors.get(position)
            if vector is None and isinstance(write, Put):
                vector = write.vector
            gone = vector == SUPERSEDED
            yield Item(envelope.eid, position, write, claim.source, vector or None, gone)


def kept_vectors(eid: int, items: Sequence[Item]) -> dict[int, bytes]:
    """What is kept by position for a driver that stores later: nothing has to be embedded again."""
    kept: dict[int, bytes] = {}
    for item in items:
        if item.eid == eid and item.superseded:
            kept[item.position] = SUPERSEDED
        elif item.eid == eid and item.vector is not None:
            kept[item.position] = item.vector
    return kept


def results_of(
    driver: str, claim: Claim, items: Sequence[Item], failures: dict[str, MemrelayError]
) -> list[DriverResult]:
    """A driver's result for each envelope of the claim, in order; ``failures`` by id are final."""
    rows: dict[int, list[Item]] = {eid: [] for eid in claim.eids}
    for item in items:
        rows[item.eid].append(item)
    return [_result(driver, row, failures) for row in rows.values()]


def _result(driver: str, items: Sequence[Item], failures: dict[str, MemrelayError]) -> DriverResult:
    """A driver's result for the items of one envelope; ``failures`` by id are final."""
    letters: list[str] = []
    errors: list[tuple[int, str, str, str]] = []
    for item in items:
        error = item.error if item.superseded else item.error or failures.get(item.write.id)
        if error is not None:
            errors.append((item.position, item.write.id, error.code, str(error)))
        letters.append("f" if error is not None else "s" if item.superseded else "a")
    uniform = len(set(letters)) == 1
    return DriverResult(
        driver=driver, outcomes=letters[0] if uniform else "".join(letters), errors=errors
    )
