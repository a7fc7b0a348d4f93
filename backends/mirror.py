"""Mirror: while a space is built beside another one, every write of a driver goes to both.

To the one that is built first: what the source's own space has done, that one has done too. So a delete by
filter, which finds what it deletes in the source's space, leaves nothing behind in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import batched
from typing import Any

from backends.embedding.check import check_vectors
from memrelay.driver import Driver
from memrelay.embedder import Embedder
from memrelay.types import Op, Outcome, Scope, Upsert

TEXTS = 256


@dataclass(frozen=True, slots=True)
class Twin(Upsert):
    """A memory with its vector in the space that is built, too, where that is known already."""

    twin: bytes


class Mirror:
    """A driver whose writes go to the space of ``embedder`` as well; all else is the driver's own."""

    def __init__(self, driver: Driver, embedder: Embedder) -> None:
        self._driver = driver
        self._embedder = embedder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        twins = await with_vectors(self._embedder, ops)
        first = await self._driver.apply(mirrored(scope, self._embedder), twins)
        failed = {id: outcome for id, outcome in first.items() if outcome.status == "failed"}
        rest = [op for op in ops if op.id not in failed]
        return {**failed, **(await self._driver.apply(scope, rest) if rest else {})}

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        gone = await self._driver.collect(
            mirrored(scope, self._embedder), before=before, limit=limit
        )
        return max(gone, await self._driver.collect(scope, before=before, limit=limit))

    async def purge(self, scope: Scope) -> None:
        await self._driver.purge(mirrored(scope, self._embedder))
        await self._driver.purge(scope)


def mirrored(scope: Scope, embedder: Embedder) -> Scope:
    return replace(scope, space=embedder.space)


async def with_vectors(embedder: Embedder, ops: Sequence[Op]) -> list[Op]:
    """The ops in the space of ``embedder``; from the texts, where no twin is known."""
    vectors = await _vectors(embedder, ops)
    return [Upsert(op.memory, vectors[op.id]) if isinstance(op, Upsert) else op for op in ops]


async def twinned(embedder: Embedder, ops: Sequence[Op]) -> list[Op]:
    """The ops with their twins: so that a model which is slow, or away, is not laid to a driver."""
    vectors = await _vectors(embedder, ops)
    return [
        Twin(op.memory, op.vector, vectors[op.id]) if isinstance(op, Upsert) else op for op in ops
    ]


async def _vectors(embedder: Embedder, ops: Sequence[Op]) -> dict[str, bytes]:
    vectors = {op.id: op.twin for op in ops if isinstance(op, Twin)}
    wanting = [op for op in ops if isinstance(op, Upsert) and op.id not in vectors]
    for part in batched(wanting, TEXTS):
        found = await embedder.embed([op.memory.text for op in part])
        check_vectors(found, count=len(part), dimensions=embedder.space.dimensions)
        vectors |= {op.id: vector for op, vector in zip(part, found, strict=True)}
    return vectors
