"""agent-memory-server's own Redis store with memrelay's model in process; runs in its environment."""

from __future__ import annotations

import asyncio
from typing import Any

from agent_memory_server import memory_vector_db_factory
from agent_memory_server.config import settings
from agent_memory_server.memory_vector_db import (
    RedisVLMemoryVectorDatabase,
)
from agent_memory_server.utils.redis import (
    redis_url_for_redisvl,
)
from redisvl.index import AsyncSearchIndex  # type: ignore[import-not-found]

from backends.embedding.local import DIMENSIONS
from benchmarks.neighbours.embedding import Words


class Embedder:
    """Its interface of an embedder."""

    def __init__(self) -> None:
        self._words = Words()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        if len(texts) == 1:
            return self._words.vectors(texts)
        return await asyncio.to_thread(self._words.vectors, texts)

    async def aembed_query(self, text: str) -> list[float]:
        return self._words.vectors([text])[0]


def create(_: Any) -> Any:
    """Its schema and its store; only the dimensions are another model's."""
    schema = memory_vector_db_factory._build_redis_schema()
    vector = next(field for field in schema["fields"] if field["name"] == "vector")
    vector["attrs"]["dims"] = DIMENSIONS
    url = redis_url_for_redisvl(settings.redis_url)
    return RedisVLMemoryVectorDatabase(
        AsyncSearchIndex.from_dict(schema, redis_url=url), Embedder()
    )
