"""The document "Memory Driver System", example by example; only import paths and addresses are ours.

Its applications import from ``app.core.memory`` what is ``memrelay.compat.memory_driver`` here.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035  # as the document writes it
from uuid import uuid4

import psycopg
import pytest

from deploy.native.postgres import PostgresServer
from memrelay.compat.memory_driver import (
    BaseMemoryDriver,
    MemoryDriverManager,
    get_memory_driver,
    set_memory_driver,
)
from memrelay.compat.memory_driver.settings import Settings
from tests.memory_drivers import chosen, clean

ROOT = Path(__file__).parent.parent.parent
TABLES = ["global_knowledge", "memories", "memory_driver_migrations"]


@pytest.fixture
def automem(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    with chosen("automem-double", tmp_path, request.getfixturevalue):
        yield


@pytest.fixture
def pgvector(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    with chosen("pgvector", tmp_path, request.getfixturevalue) as given:
        yield given


@pytest.fixture
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with clean():
        yield


@pytest.fixture
def database(postgres_server_factory: Callable[[], PostgresServer]) -> PostgresServer:
    """One with pgvector and nothing in it yet."""
    return postgres_server_factory()


def migrate(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python migrate.py …``"""
    return subprocess.run(
        [sys.executable, "-m", "memrelay.compat.memory_driver.migrate", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
    )


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        return [name for (name,) in rows]


# Configuration


def test_the_default_is_automem_and_names_are_lower_cased(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings().MEMORY_DRIVER == "automem"
    monkeypatch.setenv("MEMORY_DRIVER", "PGVector")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@localhost:5432/dbname")
    assert Settings().MEMORY_DRIVER == "pgvector"
    assert Settings().DATABASE_URL == "postgresql://user:password@localhost:5432/dbname"


# Usage


def in_application_code() -> None:
    # Get the configured driver (singleton)
    driver = get_memory_driver()

    # Recall user memories
    memories = driver.recall(
        user_id="user123",
        conversation_id="conv456",
        query="previous conversations",
        top_k=10,
        use_vector=True,
    )
    assert memories == []

    # Recall global knowledge
    knowledge = driver.recall_global_knowledge(
        query="company policies", top_k=5, category="policies"
    )
    assert knowledge == []

    # Store a memory
    driver.store(
        user_id="user123",
        content="User said hello",
        conversation_id="conv456",
        tags=["user", "greeting"],
    )

    # Store global knowledge
    driver.store_global_knowledge(
        content="Company policy document",
        category="policies",
        title="Remote Work Policy",
        doc_id="POL-001",
    )

    # Delete a memory
    driver.delete(memory_id="mem123", user_id="user123")

    # Health check
    status = driver.health_check()
    assert status["status"] == "healthy"

    # What it all was for
    [memory] = driver.recall(user_id="user123", query="who said hello?")
    assert memory["content"] == memory["memory"]["content"] == "User said hello"
    assert memory["tags"] == ["user", "greeting"]
    [document] = driver.recall_global_knowledge("policy", category="policies")
    assert (document["title"], document["doc_id"]) == ("Remote Work Policy", "POL-001")
    assert driver.delete(memory_id=memory["id"], user_id="user123")
    assert driver.recall(user_id="user123") == []


def test_usage_on_automem(automem: None) -> None:
    set_memory_driver("automem")
    in_application_code()


def test_usage_on_pgvector(pgvector: dict[str, str]) -> None:
    in_application_code()


def test_runtime_driver_switching(
    automem: None, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = get_memory_driver()
    monkeypatch.setenv("DATABASE_URL", postgres_url)

    # Explicitly switch to a different driver
    driver = set_memory_driver("pgvector")

    assert driver is not first
    assert get_memory_driver() is driver
    assert set_memory_driver("AutoMem") is first


# Setup instructions


def test_the_database_is_set_up_as_the_document_says(database: PostgresServer) -> None:
    url = database.url
    # 3. Run all pending migrations (includes pgvector tables)
    done = migrate(DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (0, "migrated: create_pgvector_tables\n"), done.stderr
    assert migrate(DATABASE_URL=url).stdout == "nothing to migrate\n"
    assert tables(url) == TABLES

    # 5. Create vector indexes (after inserting data)
    early = migrate("index", DATABASE_URL=url)
    assert "idx_memories_embedding: waits until memories has rows" in early.stdout
    store = """
from memrelay.compat.memory_driver import get_memory_driver
driver = get_memory_driver()
for n in range(3):
    driver.store("user123", f"note {n}")
    driver.store_global_knowledge(f"page {n}", "policies")
"""
    environment = {"MEMORY_DRIVER": "pgvector", "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", store], check=True, env=os.environ | environment)
    assert migrate("index", DATABASE_URL=url).stdout.count(": created") == 2
    assert migrate("index", DATABASE_URL=url).stdout.count(": is there already") == 2
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname LIKE '%embedding' ORDER BY indexname"
        ).fetchall()
    assert [row[0].partition(" USING ")[2] for row in rows] == [
        "ivfflat (embedding vector_cosine_ops) WITH (lists='100')"
    ] * 2

    # Or refresh database with all migrations
    refused = migrate("fresh", DATABASE_URL=url)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert migrate("fresh", "--force", DATABASE_URL=url).returncode == 0
    assert tables(url) == TABLES
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_the_documents_own_indexes_can_be_made(pgvector: dict[str, str]) -> None:
    get_memory_driver().store("user123", "data first")
    with psycopg.connect(pgvector["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            f"SET search_path = {pgvector['MEMORY_DATABASE_SCHEMA']}, public".encode()
        )
        connection.execute(
            "CREATE INDEX idx_memories_embedding ON memories "
            "USING ivfflat(embedding vector_cosine_ops) WITH (lists = 100);"
        )
        connection.execute(
            "CREATE INDEX idx_knowledge_embedding ON global_knowledge "
            "USING ivfflat(embedding vector_cosine_ops) WITH (lists = 100);"
        )
    assert get_memory_driver().recall("user123", query="data")


# BaseMemoryDriver interface


class Documented:
    """The document's text."""

    def recall(  # noqa: PLR0917
        self,
        user_id: str,
        conversation_id: Optional[str] = None,  # noqa: UP045
        query: Optional[str] = None,  # noqa: UP045
        top_k: int = 10,
        use_vector: bool = True,
        exclude_tags: Optional[List[str]] = None,  # noqa: UP006, UP045
    ) -> List[Dict[str, Any]]:  # noqa: UP006
        """Retrieve user memories"""

    def recall_global_knowledge(
        self,
        query: str,
        top_k: int = 5,
        category: Optional[str] = None,  # noqa: UP045
    ) -> List[Dict[str, Any]]:  # noqa: UP006
        """Retrieve global knowledge/documentation"""

    def store(
        self,
        user_id: str,
        content: str,
        conversation_id: Optional[str] = None,  # noqa: UP045
        tags: Optional[List[str]] = None,  # noqa: UP006, UP045
        metadata: Optional[Dict[str, Any]] = None,  # noqa: UP006, UP045
    ) -> Dict[str, Any]:  # noqa: UP006
        """Store a new memory"""

    def store_global_knowledge(
        self,
        content: str,
        category: str,
        title: Optional[str] = None,  # noqa: UP045
        doc_id: Optional[str] = None,  # noqa: UP045
        metadata: Optional[Dict[str, Any]] = None,  # noqa: UP006, UP045
    ) -> Dict[str, Any]:  # noqa: UP006
        """Store global knowledge"""

    def delete(
        self,
        memory_id: str,
        user_id: Optional[str] = None,  # noqa: UP045
    ) -> bool:
        """Delete a specific memory"""

    def health_check(self) -> Dict[str, Any]:  # noqa: UP006
        """Check driver health and connectivity"""


METHODS = [name for name, value in vars(Documented).items() if inspect.isfunction(value)]


def parameters(method: Callable[..., Any]) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["automem", "pgvector", "redis", "sqlite", "weaviate", "relay"])
def test_every_driver_has_the_documents_signatures(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch, name: str, method: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@localhost:5432/dbname")
    wanted = parameters(getattr(Documented, method))
    assert parameters(getattr(BaseMemoryDriver, method)) == wanted
    assert parameters(getattr(type(MemoryDriverManager.get_driver(name)), method)) == wanted


def test_all_six_must_be_implemented() -> None:
    assert BaseMemoryDriver.__abstractmethods__ == set(METHODS)
    assert len(METHODS) == 6


# Creating a custom driver


def test_a_custom_driver_is_registered_and_used(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memrelay.compat.memory_driver.base import BaseMemoryDriver
    from memrelay.compat.memory_driver.manager import MemoryDriverManager

    class MyCustomDriver(BaseMemoryDriver):
        def __init__(self):
            # Initialize your backend connection
            self.memories = []

        def recall(self, user_id, **kwargs):
            # Implement memory retrieval
            return [memory for memory in self.memories if memory["user_id"] == user_id]

        def recall_global_knowledge(self, query, **kwargs):
            # Implement knowledge retrieval
            return []

        # ... implement other methods

        def store(self, user_id, content, **kwargs):
            self.memories.append({"id": str(uuid4()), "user_id": user_id, "content": content})
            return self.memories[-1]

        def store_global_knowledge(self, content, category, **kwargs):
            return {}

        def delete(self, memory_id, user_id=None):
            return False

        def health_check(self):
            return {"status": "healthy"}

    MemoryDriverManager.register_driver("custom", MyCustomDriver)
    monkeypatch.setenv("MEMORY_DRIVER", "custom")
    driver = get_memory_driver()
    assert isinstance(driver, MyCustomDriver)
    driver.store("user123", "kept by a driver of my own")
    assert get_memory_driver().recall("user123")[0]["content"] == "kept by a driver of my own"


# Performance considerations


def test_instances_are_cached_and_the_cache_can_be_reset(
    nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_DRIVER", "sqlite")
    driver = get_memory_driver()
    assert get_memory_driver() is driver is MemoryDriverManager.get_driver("sqlite")
    MemoryDriverManager.reset_cache()
    assert get_memory_driver() is not driver


# Migration guide


def test_the_swap_from_automems_client(automem: None) -> None:
    get_memory_driver().store("123", "a test of memories")

    driver = get_memory_driver()
    memories = driver.recall(user_id="123", query="test")

    assert [memory["memory"]["content"] for memory in memories] == ["a test of memories"]


# Troubleshooting


def test_driver_not_found(nothing_set: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_DRIVER", "xyz")
    with pytest.raises(ValueError, match="Memory driver 'xyz' not found") as raised:
        get_memory_driver()
    assert "automem" in str(raised.value)
    assert "pgvector" in str(raised.value)


class StandInForPsycopg2:
    """Of the package that the document's users have, what they catch."""

    class Error(Exception): ...

    class OperationalError(Error): ...


def test_connection_failed(nothing_set: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORY_DRIVER", "pgvector")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:s3cret@127.0.0.1:1/dbname")
    with pytest.raises(psycopg.OperationalError, match="could not connect to server") as raised:
        get_memory_driver().recall("user123")
    assert "s3cret" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "psycopg2", StandInForPsycopg2)  # type: ignore[arg-type]
    with pytest.raises(StandInForPsycopg2.OperationalError, match="could not connect to server"):
        get_memory_driver().recall("user123")
    status = get_memory_driver().health_check()
    assert (status["status"], status["connected"]) == ("unhealthy", False)
    assert migrate(DATABASE_URL=os.environ["DATABASE_URL"]).returncode == 4


def test_extension_missing(
    database: PostgresServer, nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute("DROP EXTENSION vector")
    monkeypatch.setenv("MEMORY_DRIVER", "pgvector")
    monkeypatch.setenv("DATABASE_URL", database.url)
    with pytest.raises(Exception, match='type "vector" does not exist: CREATE EXTENSION vector;'):
        get_memory_driver().recall("user123")
    done = migrate(DATABASE_URL=database.url)
    assert done.returncode == 1
    assert "CREATE EXTENSION vector;" in done.stderr
    assert migrate(DATABASE_URL=database.superuser_url).returncode == 0


def test_tables_missing(
    database: PostgresServer, nothing_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORY_DRIVER", "pgvector")
    monkeypatch.setenv("DATABASE_URL", database.url)
    with pytest.raises(Exception, match=r"no table memories .* python -m .*\.migrate"):
        get_memory_driver().store("user123", "too early")
    assert migrate(DATABASE_URL=database.url).returncode == 0
    assert get_memory_driver().store("user123", "now")["id"]
