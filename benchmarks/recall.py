"""What part of the true nearest a driver finds, by questions whose cosines with every memory are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from backends.registry import create_embedder
from benchmarks.ingest import BATCH, MODEL
from memrelay.driver import Driver, Query
from memrelay.errors import Transient
from memrelay.filters import Filter, matches
from memrelay.types import Memory, Op, Outcome, Scope, Space, Upsert

TOP = 10
NOW = 1
TRIES = 10

type Exact = Sequence[tuple[bytes, Any]]
"""Each question's vector, and its cosine with every memory; -2 for what does not pass."""


async def embedded(texts: Sequence[str]) -> tuple[Space, Any]:
    """The space, and a row for each text."""
    embedder = create_embedder(MODEL, {})
    await embedder.open()
    raw = [
        vector
        for start in range(0, len(texts), BATCH)
        for vector in await embedder.embed(texts[start : start + BATCH])
    ]
    await embedder.close()
    return embedder.space, np.frombuffer(b"".join(raw), "<f4").reshape(len(texts), -1)


async def fill(driver: Driver, scope: Scope, memories: Sequence[Memory], vectors: Any) -> None:
    await driver.ensure(scope)
    for start in range(0, len(memories), BATCH):
        part = memories[start : start + BATCH]
        ops = [Upsert(memory, vectors[start + at].tobytes()) for at, memory in enumerate(part)]
        outcomes = await _applied(driver, scope, ops)
        assert all(outcome.status == "applied" for outcome in outcomes.values()), outcomes


async def _applied(driver: Driver, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
    """On a busy machine a store may take longer than a driver waits; an apply may be repeated."""
    for _ in range(TRIES):
        with suppress(Transient):
            return await driver.apply(scope, ops)
    return await driver.apply(scope, ops)


def exact(memories: Sequence[Memory], vectors: Any, chosen: Filter | None, questions: Any) -> Exact:
    """``questions`` has a row for each; memory ``m7`` is that of row 7 of ``vectors``."""
    passing = np.array([matches(chosen, memory) for memory in memories])
    unit, asked = _unit(vectors), _unit(questions)
    return [(one.tobytes(), np.where(passing, unit @ one, -2.0)) for one in asked]


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


async def recall(driver: Driver, scope: Scope, asked: Exact, chosen: Filter | None) -> float:
    """The mean part of the true nearest that is found; what is as near as the last of them counts."""
    parts = []
    for vector, cosines in asked:
        most = min(TOP, int((cosines > -2).sum()))
        bar = np.sort(cosines)[-most] - 1e-5
        query = Query(mode="semantic", top_k=TOP, now=NOW, vector=vector, filter=chosen)
        hits = await driver.search(scope, query)
        near = sum(cosines[int(hit.memory.id[1:])] >= bar for hit in hits)
        parts.append(min(near, most) / most)
    return round(float(np.mean(parts)), 4)
