"""The ``pgvector`` memory driver on tables that its document's own application made and filled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from backends.embedding.local import LocalEmbedder
from backends.memory_driver import tables
from deploy.native.postgres import PostgresServer
from memrelay import exits
from memrelay.compat.memory_driver import get_memory_driver
from memrelay.compat.memory_driver.migrate import main as migrate
from memrelay.compat.memory_driver.record import Record
from memrelay.compat.memory_driver.shelved import ShelfDriver
from memrelay.errors import ConfigError, InvalidInput, Unavailable, Unsupported
from memrelay.types import vector_from_bytes
from tests.memory_drivers import clean

TABLES = """
CREATE TABLE {schema}.memories (
    id serial PRIMARY KEY,
    user_id integer NOT NULL,
    conversation_id integer,
    content text NOT NULL,
    tags text[] DEFAULT '{{}}',
    metadata jsonb DEFAULT '{{}}',
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now(),
    embedding vector({dimensions})
);
CREATE TABLE {schema}.global_knowledge (
    id serial PRIMARY KEY,
    content text NOT NULL,
    category varchar(100) NOT NULL,
    title varchar(500),
    doc_id varchar(255),
    tags text[] DEFAULT '{{}}',
    metadata jsonb DEFAULT '{{}}',
    created_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now(),
    embedding vector({dimensions})
);
CREATE UNIQUE INDEX ON {schema}.global_knowledge (doc_id);
"""


class Theirs:
    """A schema with the application's tables, and what the application puts into them."""

    def __init__(self, url: str, dimensions: int = 256) -> None:
        self.url = url
        self.schema = f"theirs_{uuid4().hex[:12]}"
        self._embedder = LocalEmbedder()
        self.execute(f"CREATE SCHEMA {self.schema}")
        self.execute(TABLES.format(schema=self.schema, dimensions=dimensions))

    def execute(self, statement: str, values: tuple[Any, ...] | None = None) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def remember(self, user: int, content: str, **columns: Any) -> None:
        [vector] = self._embedder._embed([content])
        given = {
            "user_id": user,
            "content": content,
            "embedding": json.dumps(vector_from_bytes(vector)),
            **columns,
        }
        names, places = ", ".join(given), ", ".join(["%s"] * len(given))
        self.execute(
            f"INSERT INTO {self.schema}.memories ({names}) VALUES ({places})",
            tuple(given.values()),
        )


@pytest.fixture
def theirs(postgres_url: str) -> Iterator[Theirs]:
    theirs = Theirs(postgres_url)
    with clean(
        MEMORY_DRIVER="pgvector", DATABASE_URL=postgres_url, MEMORY_DATABASE_SCHEMA=theirs.schema
    ):
        yield theirs


def test_an_existing_database_goes_on(theirs: Theirs) -> None:
    theirs.remember(1, "I love hiking in the Alps", conversation_id=7, tags=["old"])
    theirs.remember(1, "My invoice has number 42", tags=None, metadata=None, created_at=None)
    theirs.remember(2, "another user's")
    driver = get_memory_driver()
    user: Any = 1
    best = driver.recall(user_id=user, query="hiking trips in the Alps", top_k=1)
    assert [(found["id"], found["user_id"], found["conversation_id"]) for found in best] == [
        ("1", "1", "7")
    ]
    new = driver.store(user, "a new one", conversation_id="7", tags=["n"], metadata={"k": 1})
    assert new["id"] == "4"
    assert [found["id"] for found in driver.recall("1")] == ["4", "1", "2"]
    assert [found["id"] for found in driver.recall("1", "7", exclude_tags=["old"])] == ["4"]
    assert driver.delete("3", "1") is False
    assert driver.delete("4", "1") is True
    assert theirs.execute(f"SELECT count(*) FROM {theirs.schema}.memories") == [(3,)]


def test_times_without_a_zone_are_utc(theirs: Theirs) -> None:
    theirs.execute("ALTER ROLE CURRENT_USER SET TimeZone = 'Asia/Tokyo'")
    try:
        theirs.remember(1, "old", created_at="2026-01-31 12:00:00")
        driver = get_memory_driver()
        stored = driver.store("1", "new")
        newest, oldest = driver.recall("1")
        assert oldest["created_at"] == "2026-01-31T12:00:00.000000Z"
        assert newest == stored
    finally:
        theirs.execute("ALTER ROLE CURRENT_USER RESET TimeZone")


def test_a_document_keeps_the_row_of_its_doc_id(theirs: Theirs) -> None:
    driver = get_memory_driver()
    first = driver.store_global_knowledge("one", "Policies", "T", "POL-001")
    second = driver.store_global_knowledge("two", "policies", "T", "POL-001")
    assert first["id"] == second["id"] == "1"
    [found] = driver.recall_global_knowledge("two", category="POLICIES")
    assert found["content"] == "two"


def test_ids_that_cannot_be_in_the_table(theirs: Theirs) -> None:
    driver = get_memory_driver()
    assert driver.delete("mem123", "user123") is False
    assert driver.delete("99999999999", "1") is False
    with pytest.raises(InvalidInput, match="user_id is integer"):
        driver.recall("user123")
    with pytest.raises(InvalidInput, match="conversation_id is integer"):
        driver.store("1", "text", conversation_id="conv456")


def test_a_table_that_hands_out_ids_takes_no_others(theirs: Theirs) -> None:
    driver = get_memory_driver()
    assert isinstance(driver, ShelfDriver)
    copied = Record(kind="memories", id="17", user_id="1", content="copy", created_at=0)
    with pytest.raises(Unsupported):
        driver.put([copied])


def test_titles_are_not_cut(theirs: Theirs) -> None:
    with pytest.raises(Exception, match="value too long"):
        get_memory_driver().store_global_knowledge("text", "c", title="x" * 501)


def test_a_batch_is_stored_whole_or_not_at_all(theirs: Theirs) -> None:
    with pytest.raises(InvalidInput):
        get_memory_driver().store_many(
            [{"user_id": "1", "content": "good"}, {"user_id": "x", "content": "bad"}]
        )
    assert get_memory_driver().recall("1") == []


@pytest.mark.parametrize("dimensions", [384, 7])
def test_vectors_of_another_model_need_its_name(postgres_url: str, dimensions: int) -> None:
    """384 is the document's own model, whose package is not installed here."""
    theirs = Theirs(postgres_url, dimensions)
    given = {"DATABASE_URL": postgres_url, "MEMORY_DATABASE_SCHEMA": theirs.schema}
    with (
        clean(MEMORY_DRIVER="pgvector", **given),
        pytest.raises(ConfigError, match=r"sentence-transformers|MEMORY_EMBEDDING"),
    ):
        get_memory_driver().recall("1")
    with (
        clean(MEMORY_DRIVER="pgvector", MEMORY_EMBEDDING="local/wordllama", **given),
        pytest.raises(ConfigError, match=f"{dimensions} dimensions.*makes 256"),
    ):
        get_memory_driver().recall("1")


def test_migrating_takes_their_tables_as_they_are(theirs: Theirs) -> None:
    theirs.remember(1, "kept")
    assert migrate([]) == exits.OK
    assert [found["content"] for found in get_memory_driver().recall("1")] == ["kept"]


def test_own_migrations_run_in_the_order_of_their_names(theirs: Theirs, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "env.py").write_text("raise SystemExit('Alembic is not ours to start')")
    (folder / "001_theirs.py").write_text("def upgrade():\n    raise SystemExit\n")
    (folder / "add_notes.py").write_text(
        "def upgrade(step):\n    step.execute('CREATE TABLE notes (id int)')\n"
        "def downgrade(step):\n    step.execute('DROP TABLE notes')\n"
    )
    (folder / "zz_broken.py").write_text("def upgrade(step):\n    step.execute('NO SQL')\n")
    assert migrate(["--path", str(folder)]) == exits.FAILED
    assert theirs.execute("SELECT to_regclass(%s)", (f"{theirs.schema}.notes",)) == [(None,)]
    (folder / "zz_broken.py").unlink()
    assert migrate(["--path", str(folder)]) == exits.OK
    assert migrate(["fresh"]) == exits.USAGE
    assert migrate(["fresh", "--force"]) == exits.FAILED  # add_notes was applied, and is not there
    assert migrate(["fresh", "--force", "--path", str(folder)]) == exits.OK
    names = theirs.execute(f"SELECT name FROM {theirs.schema}.memory_driver_migrations ORDER BY 1")
    assert names == [("add_notes",), ("create_pgvector_tables",)]


def test_many_documents_are_found_by_an_index(
    theirs: Theirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "EXACT_ROWS", 50)
    driver = get_memory_driver()
    words = ("coffee", "train", "river", "guitar", "invoice", "doctor", "garden", "bicycle")
    for n, one in enumerate(words * 15):
        driver.store_global_knowledge(f"{one} {words[n // 8 % 8]}", "even" if n % 2 == 0 else "odd")
    assert migrate([]) == exits.OK
    assert migrate(["index"]) == exits.OK
    found = driver.recall_global_knowledge("invoice of coffee", top_k=30, category="even")
    assert sorted(found[0]["content"].split()) == ["coffee", "invoice"]
    assert [document["category"] for document in found] == ["even"] * 30
    scores = [document["score"] for document in found]
    assert scores == sorted(scores, reverse=True)


def test_a_server_that_comes_back_is_used_again(
    postgres_server_factory: Callable[[], PostgresServer],
) -> None:
    server = postgres_server_factory()
    with clean(MEMORY_DRIVER="pgvector", DATABASE_URL=server.url):
        assert migrate([]) == exits.OK
        driver = get_memory_driver()
        driver.store("ana", "kept")
        server.kill()
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError) as raised:
            driver.recall("ana")
        assert isinstance(raised.value, Unavailable)
        assert time.monotonic() - began < 60
        server.start()
        assert [found["content"] for found in driver.recall("ana")] == ["kept"]
