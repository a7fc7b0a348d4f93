"""Each example of the seed document, run in agent-memory-server: its factory, its class, its errors.

What the document leaves open (``...``) is filled in as little as the example needs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_memory_server import memory_vector_db_factory
from agent_memory_server.config import settings
from agent_memory_server.memory_vector_db import MemoryVectorDatabase
from agent_memory_server.memory_vector_db_factory import create_memory_vector_db
from agent_memory_server.models import MemoryRecord

from memrelay.compat.agent_memory_server import MemrelayMemoryVectorDatabase

type Configure = Callable[[str, str], None]

METHODS = '''
    async def add_memories(self, memories: list[MemoryRecord]) -> list[str]:
        """Add memories and return their IDs."""
        self.kept = getattr(self, "kept", {}) | {memory.id: memory for memory in memories}
        return [memory.id for memory in memories]

    async def search_memories(self, query: str, limit: int = 10, **kwargs) -> MemoryRecordResults:
        """Search memories by semantic similarity."""
        return await self.list_memories(limit=limit)

    async def delete_memories(self, memory_ids: list[str]) -> None:
        """Delete memories by ID."""
        for id in memory_ids:
            self.kept.pop(id, None)

    async def update_memories(self, memories: list[MemoryRecord]) -> list[str]:
        """Update existing memories."""
        return await self.add_memories(memories)

    async def count_memories(self, **filter_kwargs) -> int:
        """Count memories matching filters."""
        return len(self.kept)

    async def list_memories(self, offset: int = 0, limit: int = 100, **filter_kwargs) -> MemoryRecordResults:
        """List memories with optional filters."""
        found = [MemoryRecordResult(**m.model_dump(), dist=0.0) for m in self.kept.values()]
        return MemoryRecordResults(memories=found[offset:][:limit], total=len(found))
'''

REQUIREMENTS = f'''
from agent_memory_server.memory_vector_db import MemoryVectorDatabase
from agent_memory_server.models import MemoryRecord, MemoryRecordResult, MemoryRecordResults

class MyCustomMemoryVectorDatabase(MemoryVectorDatabase):
    def __init__(self, embeddings):
        self.embeddings = embeddings
{METHODS}

def create_my_backend(embeddings) -> MemoryVectorDatabase:
    """Factory function that creates a custom memory vector database."""
    return MyCustomMemoryVectorDatabase(embeddings)
'''

INTERFACE = f'''
from agent_memory_server.memory_vector_db import MemoryVectorDatabase
from agent_memory_server.models import MemoryRecord, MemoryRecordResult, MemoryRecordResults

class MyCustomBackend(MemoryVectorDatabase):
    """Custom backend implementation."""
{METHODS}

def create_my_backend(embeddings):
    return MyCustomBackend()
'''

BASIC = f'''
# my_backends.py
from agent_memory_server.memory_vector_db import MemoryVectorDatabase
from agent_memory_server.models import MemoryRecord, MemoryRecordResult, MemoryRecordResults

class MyCustomMemoryVectorDatabase(MemoryVectorDatabase):
    """Custom memory vector database implementation."""

    def __init__(self, embeddings):
        self.embeddings = embeddings
        # Initialize your backend connection here
{METHODS}

def create_my_backend(embeddings) -> MyCustomMemoryVectorDatabase:
    """Factory function that creates a custom backend."""
    return MyCustomMemoryVectorDatabase(embeddings)
'''


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Writes ``my_backends.py``, and sets MEMORY_VECTOR_DB_FACTORY as the server reads it at its start."""
    monkeypatch.setattr(memory_vector_db_factory, "_memory_vector_db", None)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_backends", raising=False)

    def set_factory(source: str, factory: str) -> None:
        (tmp_path / "my_backends.py").write_text(source)
        monkeypatch.setattr(settings, "memory_vector_db_factory", factory)

    return set_factory


@pytest.mark.parametrize("source", [REQUIREMENTS, INTERFACE, BASIC])
async def test_the_examples_run(configure: Configure, source: str) -> None:
    configure(source, "my_backends.create_my_backend")
    database = create_memory_vector_db()
    assert isinstance(database, MemoryVectorDatabase)
    records = [MemoryRecord(id=id, text=f"text of {id}") for id in ("a", "b")]
    assert await database.add_memories(records) == ["a", "b"]
    assert [found.id for found in (await database.search_memories("text")).memories] == ["a", "b"]
    await database.delete_memories(["a"])
    await database.update_memories([MemoryRecord(id="b", text="changed")])
    assert await database.count_memories() == 1
    assert [found.text for found in (await database.list_memories()).memories] == ["changed"]


def test_our_factory_gets_the_servers_embeddings_and_is_what_it_asks_for(
    configure: Configure,
) -> None:
    configure("", "memrelay.compat.agent_memory_server.create")
    database = create_memory_vector_db()
    assert isinstance(database, MemrelayMemoryVectorDatabase)
    assert type(database.embeddings).__name__ == "LiteLLMEmbeddings"


def test_the_class_has_the_methods_of_the_interface() -> None:
    assert MemoryVectorDatabase.__abstractmethods__ == {
        *("add_memories", "search_memories", "delete_memories"),
        *("update_memories", "count_memories", "list_memories"),
    }
    assert not MemrelayMemoryVectorDatabase.__abstractmethods__


@dataclass(frozen=True)
class Wrong:
    """A factory that does not do, what is raised for it, and what its log says."""

    factory: str
    source: str
    error: type[Exception]
    message: str
    log: str = "Error calling factory function"


WRONG = [
    Wrong("nodots", "", ValueError, "Must be in format 'module.function'"),
    Wrong(
        "no_such_module.create",
        "",
        ModuleNotFoundError,
        "No module named 'no_such_module'",
        "Failed to import factory function no_such_module.create",
    ),
    Wrong(
        "my_backends.create",
        "import no_such_package",
        ModuleNotFoundError,
        "No module named 'no_such_package'",
        "Failed to import factory function my_backends.create",
    ),
    Wrong(
        "my_backends.create",
        "",
        AttributeError,
        "has no attribute 'create'",
        "Function create not found in module my_backends",
    ),
    Wrong(
        "my_backends.create",
        "def create(embeddings): return 'text'",
        TypeError,
        "must return MemoryVectorDatabase, got <class 'str'>",
    ),
    Wrong(
        "my_backends.create",
        "def create(embeddings): raise RuntimeError('no connection')",
        RuntimeError,
        "no connection",
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.message)
def test_what_is_wrong_with_a_factory_is_said(
    configure: Configure, caplog: pytest.LogCaptureFixture, wrong: Wrong
) -> None:
    configure(wrong.source, wrong.factory)
    with caplog.at_level(logging.ERROR), pytest.raises(wrong.error, match=wrong.message):
        create_memory_vector_db()
    assert wrong.log in caplog.text
