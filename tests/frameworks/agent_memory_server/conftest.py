"""Fixtures in agent-memory-server's environment: its database as it makes it itself, and its Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from agent_memory_server import memory_vector_db_factory
from agent_memory_server.config import settings
from agent_memory_server.utils import redis as server_redis
from redis.asyncio import Redis

from memrelay.compat.agent_memory_server import MemrelayMemoryVectorDatabase


@pytest.fixture
async def database(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemrelayMemoryVectorDatabase]:
    """The one that the server's own code uses, made by the factory that its setting names."""
    monkeypatch.setattr(memory_vector_db_factory, "_memory_vector_db", None)
    monkeypatch.setattr(memory_vector_db_factory, "_memory_vector_db_lock", None)
    database = await memory_vector_db_factory.get_memory_vector_db()
    assert isinstance(database, MemrelayMemoryVectorDatabase)
    yield database
    await database.close()


@pytest.fixture
async def redis(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Redis]:
    """Also the one that the server's own code uses, which would keep it from loop to loop."""
    client = Redis.from_url(settings.redis_url)
    monkeypatch.setattr(server_redis, "_redis_pool", client)
    yield client
    await client.aclose()


@pytest.fixture
def own() -> str:
    """A prefix of ids, users, sessions and namespaces that no other test has."""
    return f"t{uuid4().hex[:12]}"
