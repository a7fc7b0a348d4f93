"""agent-memory-server's own Redis store, by a factory of ours that takes its dimensions from outside."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from agent_memory_server import memory_vector_db_factory
from agent_memory_server.config import settings
from agent_memory_server.memory_vector_db import RedisVLMemoryVectorDatabase
from agent_memory_server.utils.redis import redis_url_for_redisvl
from redisvl.index import AsyncSearchIndex


def create(embeddings: Any) -> RedisVLMemoryVectorDatabase:
    """``INDEX_NAME`` for processes that share it, a new one otherwise; ``DIMENSIONS``, or the suite's 16."""
    schema = memory_vector_db_factory._build_redis_schema()
    name = os.environ.get("INDEX_NAME") or uuid4().hex
    schema["index"] |= {"name": f"index-{name}", "prefix": f"records-{name}"}
    vector = next(field for field in schema["fields"] if field["name"] == "vector")
    vector["attrs"] |= {"dims": int(os.environ.get("DIMENSIONS", "16")), "algorithm": "flat"}
    index = AsyncSearchIndex.from_dict(schema, redis_url=redis_url_for_redisvl(settings.redis_url))
    return RedisVLMemoryVectorDatabase(index, embeddings)
