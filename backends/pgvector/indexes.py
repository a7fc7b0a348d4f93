"""Indexes of vectors: built beside the running service when a scope has outgrown exact searches.

Not before, since they make writing several times slower, and since ``ivfflat`` needs vectors to be built
from.
"""

from __future__ import annotations

import asyncio
import logging

from backends.pgvector.conditions import Sql
from backends.pgvector.connections import Connections
from backends.pgvector.layout import Place
from backends.pgvector.settings import IndexKind
from memrelay.errors import MemrelayError
from memrelay.types import Space

log = logging.getLogger("memrelay.pgvector")

INDEXED = 2000
INDEXED_AS_HALVES = 4000
"""Dimensions that an index can have."""
EF_CONSTRUCTION = 128
"""Of HNSW: with 64, pgvector's own default, recall@10 of 100,319 texts was 0.990, with this 0.994."""
KINDS: tuple[IndexKind, ...] = ("hnsw", "ivfflat")
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{name}')"


def can_have(space: Space, kind: IndexKind) -> bool:
    return kind != "none" and space.dimensions <= INDEXED_AS_HALVES


def index_name(place: Place, kind: IndexKind) -> str:
    return f"{place.memories}_{kind}"


def indexed(space: Space, vector: str) -> str:
    """The expression that an index of a space's vectors has."""
    return vector if space.dimensions <= INDEXED else f"{vector}::halfvec({space.dimensions})"


class Builder:
    """Builds one index at a time. Of several processes one does it; the others see it when it is there."""

    def __init__(self, connections: Connections, kind: IndexKind) -> None:
        self._connections = connections
        self._kind = kind
        self._task: asyncio.Task[None] | None = None

    def want(self, place: Place) -> None:
        """Begin, unless one is being built. What fails is logged, and begun again when wanted again."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._build(place))

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _build(self, place: Place) -> None:
        name = index_name(place, self._kind)
        try:
            async with self._connections.session() as ask:
                lock = "SELECT pg_try_advisory_lock(hashtextextended(%s, 1))"
                if await ask(Sql(lock, (name,))) != [(True,)]:
                    return
                if await ask(Sql(IS_VALID.format(name=name))) == [(True,)]:
                    return
                log.info("building the index %s", name)
                # Also one that was broken off: of no use to searches, and kept up all the same.
                for old in KINDS:
                    old_name = index_name(place, old)
                    await ask(Sql(f"DROP INDEX CONCURRENTLY IF EXISTS {old_name}"))
                [(rows,)] = await ask(Sql(f"SELECT count(*) FROM {place.words}"))
                await ask(Sql(_create(place, self._kind, rows)))
                await ask(
                    Sql(f"ANALYZE {place.memories}")
                )  # or the planner takes the scope for small
        except MemrelayError as error:
            log.warning("the index %s was not built: %s", name, error)


def _create(place: Place, kind: IndexKind, rows: int) -> str:
    option = {
        "hnsw": f"ef_construction = {EF_CONSTRUCTION}",
        "ivfflat": f"lists = {max(100, rows // 1000)}",
    }[kind]
    operators = "vector" if place.space.dimensions <= INDEXED else "halfvec"
    column = indexed(place.space, "vector")
    return (
        f"CREATE INDEX CONCURRENTLY {index_name(place, kind)} ON {place.memories} "
        f"USING {kind} (({column}) {operators}_cosine_ops) WITH ({option})"
    )
