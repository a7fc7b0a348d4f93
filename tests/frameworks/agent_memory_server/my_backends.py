"""A custom store as somebody writes it who read the seed document: in memory, in agent-memory-server's terms.

Of filters it knows ``eq`` and ``any``, which is what agent-memory-server itself asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from agent_memory_server.memory_vector_db import MemoryVectorDatabase
from agent_memory_server.models import MemoryRecord, MemoryRecordResult, MemoryRecordResults


class MyCustomMemoryVectorDatabase(MemoryVectorDatabase):
    """Custom memory vector database implementation."""

    def __init__(self, embeddings: Any) -> None:
        self.embeddings = embeddings
        self.kept: dict[str, tuple[MemoryRecord, list[float]]] = {}

    async def add_memories(self, memories: list[MemoryRecord]) -> list[str]:
        vectors = await self.embeddings.aembed_documents([memory.text for memory in memories])
        for memory, vector in zip(memories, vectors, strict=True):
            self.kept[memory.id] = (memory.model_copy(deep=True), vector)
        return [memory.id for memory in memories]

    async def search_memories(
        self, query: str, limit: int = 10, offset: int = 0, **filters: Any
    ) -> MemoryRecordResults:
        axis = await self.embeddings.aembed_query(query)
        found = [
            MemoryRecordResult(**memory.model_dump(), dist=1 - cosine(axis, vector))
            for memory, vector in self.kept.values()
            if passes(memory, filters)
        ]
        found.sort(key=lambda memory: memory.dist)
        return MemoryRecordResults(memories=found[offset:][:limit], total=len(found))

    async def delete_memories(self, memory_ids: list[str]) -> None:
        for id in memory_ids:
            self.kept.pop(id, None)

    async def update_memories(self, memories: list[MemoryRecord]) -> list[str]:
        return await self.add_memories(memories)

    async def count_memories(self, **filters: Any) -> int:
        return sum(passes(memory, filters) for memory, _ in self.kept.values())

    async def list_memories(
        self, offset: int = 0, limit: int = 100, **filters: Any
    ) -> MemoryRecordResults:
        found = [memory for memory, _ in self._candidates(filters) if passes(memory, filters)]
        page = [MemoryRecordResult(**m.model_dump(), dist=0.0) for m in found[offset:][:limit]]
        return MemoryRecordResults(memories=page, total=len(found))

    def _candidates(self, filters: dict[str, Any]) -> Iterable[tuple[MemoryRecord, list[float]]]:
        wanted = filters.get("id")
        if wanted is not None and wanted.eq is not None:
            return [self.kept[wanted.eq]] if wanted.eq in self.kept else []
        return self.kept.values()


def passes(memory: MemoryRecord, filters: dict[str, Any]) -> bool:
    for name, filter in filters.items():
        value = getattr(memory, name)
        if filter.eq is not None and value != filter.eq:
            return False
        if filter.any is not None and value not in filter.any:
            return False
    return True


def cosine(a: list[float], b: list[float]) -> float:
    return sum(map(float.__mul__, a, b)) / (math.hypot(*a) * math.hypot(*b))


def create_my_backend(embeddings: Any) -> MyCustomMemoryVectorDatabase:
    """Factory function that creates a custom backend."""
    return MyCustomMemoryVectorDatabase(embeddings)
