"""memrelay as the long-term memory of agent-memory-server.

``MEMORY_VECTOR_DB_FACTORY=memrelay.compat.agent_memory_server.create``. The service is at
``MEMRELAY_URL``, with the key ``MEMRELAY_API_KEY``; ``MEMRELAY_SOURCE`` (or ``default``) names a source
that takes vectors from its callers, and declares what filters range over:

    [sources.agent-memory]
    drivers = ["redis", "sqlite"]
    embedding = "external"
    dimensions = 1536                # of agent-memory-server's EMBEDDING_MODEL
    [sources.agent-memory.filterable]
    namespace = "string"
    topics_line = "string"
    entities_line = "string"
    memory_hash = "string"
    discrete_memory_extracted = "string"
    extraction_strategy = "string"
    last_accessed = "string"
    event_date = "string"
"""

from __future__ import annotations

import os
from typing import Any

from memrelay.client import AsyncMemrelay
from memrelay.compat.agent_memory_server.database import MemrelayMemoryVectorDatabase

__all__ = ["MemrelayMemoryVectorDatabase", "create"]


def create(embeddings: Any) -> MemrelayMemoryVectorDatabase:
    """The factory that agent-memory-server calls; connects to nothing yet."""
    source = os.environ.get("MEMRELAY_SOURCE") or "default"
    return MemrelayMemoryVectorDatabase(embeddings, AsyncMemrelay, source=source)
