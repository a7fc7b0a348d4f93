"""The hybrid memory driver while its drivers fail: what is written stays, what was deleted stays away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from deploy.native.redis import RedisServer
from memrelay.compat.memory_driver import MemoryDriverManager, get_memory_driver
from memrelay.compat.memory_driver.base import BaseMemoryDriver
from memrelay.compat.memory_driver.hybrid import HybridDriver
from memrelay.errors import ConfigError, MemrelayError
from tests.memory_drivers import chosen, clean

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def redis(redis_server_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_server_factory()


@pytest.fixture
def make_hybrid(tmp_path: Path, redis: RedisServer) -> Iterator[Callable[..., HybridDriver]]:
    """Redis and SQLite, in the order of ``names``."""
    given = {
        "MEMORY_DRIVER": "hybrid",
        "REDIS_URL": f"{redis.url}/0",
        "MEMORY_SQLITE_PATH": str(tmp_path / "memories.db"),
        "MEMORY_HYBRID_OUTBOX": str(tmp_path / "outbox.db"),
    }
    with clean(**given), pytest.MonkeyPatch.context() as patch:

        def make(names: str, reads: str = "") -> HybridDriver:
            patch.setenv("MEMORY_HYBRID_DRIVERS", names)
            patch.setenv("MEMORY_HYBRID_READS", reads)
            return cast(HybridDriver, get_memory_driver())

        yield make


def alone(name: str) -> BaseMemoryDriver:
    return MemoryDriverManager.plain_driver(name)


def contents(found: list[dict[str, Any]]) -> list[str]:
    return [memory["content"] for memory in found]


def test_what_is_written_is_on_every_driver_under_one_id(
    make_hybrid: Callable[..., HybridDriver], user: str
) -> None:
    hybrid = make_hybrid("sqlite,redis")
    memory = hybrid.store(user, "everywhere", "c", ["t"], {"k": [1]})
    hybrid.store_many([{"user_id": user, "content": "one"}, {"user_id": user, "content": "two"}])
    document = hybrid.store_global_knowledge("a page", user, "Title", "D-1", {"pages": 3})
    for name in ("sqlite", "redis"):
        assert alone(name).recall(user, "c") == [memory]
        assert len(alone(name).recall(user)) == 3
        [found] = alone(name).recall_global_knowledge("page", category=user)
        assert {**found, "score": None} == document
    assert hybrid.delete(memory["id"], user)
    assert alone("redis").recall(user, "c") == []


def test_a_replica_that_is_away_gets_everything_later(
    make_hybrid: Callable[..., HybridDriver], redis: RedisServer, user: str
) -> None:
    hybrid = make_hybrid("sqlite,redis")
    first = hybrid.store(user, "before")
    redis.kill()
    hybrid.store(user, "meanwhile")
    hybrid.store_global_knowledge("a page", user)
    assert hybrid.delete(first["id"], user)
    assert contents(hybrid.recall(user)) == ["meanwhile"]
    status = hybrid.health_check()
    assert (status["status"], status["behind"]) == ("degraded", {"redis": 3})
    redis.start()
    assert hybrid.repair() == {"redis": 0}
    assert contents(alone("redis").recall(user)) == ["meanwhile"]
    assert contents(alone("redis").recall_global_knowledge("page", category=user)) == ["a page"]
    assert hybrid.health_check()["status"] == "healthy"


def test_what_a_replica_misses_outlives_the_process(
    make_hybrid: Callable[..., HybridDriver], redis: RedisServer, user: str
) -> None:
    make_hybrid("sqlite,redis")
    redis.kill()
    code = (
        f"from memrelay.compat.memory_driver import *; get_memory_driver().store({user!r}, 'kept')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    redis.start()
    assert make_hybrid("sqlite,redis").repair() == {"redis": 0}
    assert contents(alone("redis").recall(user)) == ["kept"]


def test_replicas_answer_while_the_primary_is_away(
    make_hybrid: Callable[..., HybridDriver], redis: RedisServer, user: str
) -> None:
    hybrid = make_hybrid("redis,sqlite")
    hybrid.store(user, "known")
    redis.kill()
    assert contents(hybrid.recall(user, query="known")) == ["known"]
    assert contents(hybrid.recall(user)) == ["known"]
    with pytest.raises(MemrelayError):
        hybrid.store(user, "nowhere")
    assert hybrid.health_check()["status"] == "degraded"
    redis.start()
    assert contents(hybrid.recall(user)) == ["known"]
    hybrid.store(user, "after")
    assert contents(alone("sqlite").recall(user)) == ["after", "known"]


def test_a_replica_never_shows_what_it_has_still_to_delete(
    make_hybrid: Callable[..., HybridDriver],
    redis: RedisServer,
    redis_server_factory: Callable[..., RedisServer],
    user: str,
    tmp_path: Path,
) -> None:
    """It was away when it should have deleted, and is back when the primary goes."""
    other = redis_server_factory()
    primary = alone("redis")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_URL", f"{other.url}/0")
        replica = cast(BaseMemoryDriver, type(primary)())
    hybrid = HybridDriver({"primary": primary, "replica": replica}, outbox=tmp_path / "out.db")
    gone = hybrid.store(user, "gone")["id"]
    hybrid.store(user, "stays")
    other.kill()
    assert hybrid.delete(gone, user)
    redis.kill()
    other.start()
    assert contents(replica.recall(user)) == ["stays", "gone"]
    assert contents(hybrid.recall(user, top_k=1)) == ["stays"]
    assert contents(hybrid.recall(user)) == ["stays"]
    replica.close()


def test_a_cache_is_a_replica_that_is_read_first(
    make_hybrid: Callable[..., HybridDriver], user: str
) -> None:
    hybrid = make_hybrid("sqlite,redis", reads="redis,sqlite")
    hybrid.store(user, "quick")
    alone("redis").store(user, "only in the replica")
    assert contents(hybrid.recall(user)) == ["only in the replica", "quick"]


def test_all_away_is_an_error_and_never_an_empty_answer(
    make_hybrid: Callable[..., HybridDriver], redis: RedisServer, user: str, tmp_path: Path
) -> None:
    hybrid = make_hybrid("redis,sqlite")
    redis.kill()
    alone("sqlite").close()
    (tmp_path / "memories.db").unlink(missing_ok=True)
    (tmp_path / "memories.db").mkdir()
    with pytest.raises(MemrelayError):
        hybrid.recall(user)
    status = hybrid.health_check()
    assert (status["status"], status["connected"]) == ("unhealthy", False)


def test_what_is_wrong_is_not_tried_elsewhere(
    make_hybrid: Callable[..., HybridDriver], user: str
) -> None:
    hybrid = make_hybrid("sqlite,redis")
    with pytest.raises(ValueError, match="top_k"):
        hybrid.recall(user, top_k=0)
    assert hybrid.health_check()["status"] == "healthy"


def test_what_a_replica_refuses_for_good_is_counted_and_stops_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, user: str
) -> None:
    """A table that hands out its own ids takes no memory under another's; documents it does."""
    with (
        chosen("pgvector", tmp_path, request.getfixturevalue) as given,
        pytest.MonkeyPatch.context() as patch,
    ):
        number_the_tables(given)
        patch.setenv("MEMORY_HYBRID_DRIVERS", "sqlite,pgvector")
        patch.chdir(tmp_path)
        hybrid = cast(HybridDriver, MemoryDriverManager.get_driver("hybrid"))
        hybrid.store_many([{"user_id": "1", "content": f"{n}"} for n in range(3)])
        hybrid.store_global_knowledge("a page", "policies", doc_id="D-1")
        status = hybrid.health_check()
        assert (status["behind"], status["refused"]) == ({"pgvector": 0}, {"pgvector": 3})
        assert status["status"] == "degraded"
        pgvector = MemoryDriverManager.plain_driver("pgvector")
        assert contents(pgvector.recall_global_knowledge("page")) == ["a page"]


def number_the_tables(given: dict[str, str]) -> None:
    """As databases have them that were set up by the document's own application."""
    with psycopg.connect(given["DATABASE_URL"]) as connection:
        connection.execute(f"SET search_path = {given['MEMORY_DATABASE_SCHEMA']}, public".encode())
        for table in ("memories", "global_knowledge"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN id".encode())
            connection.execute(f"ALTER TABLE {table} ADD COLUMN id serial PRIMARY KEY".encode())
        connection.execute("ALTER TABLE memories DROP COLUMN user_id, DROP COLUMN conversation_id")
        connection.execute("ALTER TABLE memories ADD COLUMN user_id integer NOT NULL")
        connection.execute("ALTER TABLE memories ADD COLUMN conversation_id integer")
        connection.execute("ALTER TABLE memories ALTER COLUMN created_at TYPE timestamp")


@pytest.mark.parametrize("names", ["", "sqlite", "sqlite,hybrid", "sqlite,nothing"])
def test_a_wrong_list_of_drivers_is_refused_in_one_line(
    make_hybrid: Callable[..., HybridDriver], names: str
) -> None:
    with pytest.raises((ConfigError, ValueError)) as raised:
        make_hybrid(names)
    assert "\n" not in str(raised.value)
