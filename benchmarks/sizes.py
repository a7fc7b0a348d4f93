"""Bytes that a memory takes in each store, and in the journal while it waits: on real servers, with
memories of about 300 characters, 1,000 of each user, and vectors that no store can compress."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import redis

from backends.registry import create_driver
from benchmarks.load import run_load
from benchmarks.stack import Stack
from benchmarks.texts import memories
from deploy.native.postgres import PostgresServer
from deploy.native.server import Server
from memrelay.embedded.ports import free_port
from memrelay.types import Memory, Scope, Space, Upsert

BATCH = 512
OF_A_USER = 1000
DIMENSIONS = (256, 1536)


@dataclass(frozen=True, slots=True)
class Measured:
    """A store that is up: how a driver reaches it, and how large it is, in bytes by kind."""

    settings: dict[str, Any]
    size: Callable[[], dict[str, int]]


def measure(stack: Stack, count: int) -> dict[str, Any]:
    """Bytes a memory, by store, dimension and kind, of ``count`` memories each."""
    found: dict[str, Any] = {"memories": count}
    for kind, place in PLACES.items():
        found[kind] = {
            str(dimensions): _of_one(stack, kind, place, count, dimensions)
            for dimensions in DIMENSIONS
        }
    found["journal"] = {str(DIMENSIONS[0]): waiting(stack, count)}
    return found


def _of_one(
    stack: Stack, kind: str, place: Callable[..., Any], count: int, dimensions: int
) -> dict[str, int]:
    with place(stack, dimensions) as store:
        before = store.size()
        asyncio.run(_fill(kind, store.settings, count, dimensions))
        after = store.size()
    return {name: round((after[name] - before[name]) / count) for name in after}


async def _fill(kind: str, settings: dict[str, Any], count: int, dimensions: int) -> None:
    driver = create_driver(kind, settings)
    await driver.open()
    scope = Scope(namespace="sizes", source="default", space=Space("random", dimensions))
    await driver.ensure(scope)
    rows = memories(count, users=max(1, count // OF_A_USER), seed=1)
    random = np.random.default_rng(1)
    for start in range(0, count, BATCH):
        part = rows[start : start + BATCH]
        vectors = random.standard_normal((len(part), dimensions)).astype("<f4")
        ops = [
            Upsert(Memory(**row, created_at=start, version=start + i + 1), vector.tobytes())
            for i, (row, vector) in enumerate(zip(part, vectors, strict=True))
        ]
        outcomes = await driver.apply(scope, ops)
        assert all(outcome.status == "applied" for outcome in outcomes.values()), outcomes
    await driver.close()


def waiting(stack: Stack, count: int) -> dict[str, int]:
    """Accepted over HTTP and not embedded yet: no worker runs."""
    stack.forget()
    with stack.redis, stack.service("redis") as service:
        service.stop_worker()
        rows = memories(count, users=max(1, count // OF_A_USER), seed=1)
        bodies = [
            json.dumps({"memories": rows[start : start + BATCH], "lane": "bulk"})
            for start in range(0, count, BATCH)
        ]
        before = allocated(stack.queue.url)
        report = run_load(
            port=service.port, path="/v1/memories", bodies=bodies, clients=2, count=len(bodies)
        )
        assert report["statuses"] == {"202": len(bodies)}, report["statuses"]
        return {"memory": round((allocated(stack.queue.url) - before) / count)}


@contextmanager
def _redis(stack: Stack, dimensions: int) -> Iterator[Measured]:
    with stack.redis as server:
        with redis.Redis.from_url(server.url) as client:
            client.flushall()

        def size() -> dict[str, int]:
            with redis.Redis.from_url(server.url) as client:
                client.bgrewriteaof()
                while client.info("persistence")["aof_rewrite_in_progress"]:
                    time.sleep(0.1)
            return {"memory": allocated(server.url), "disk": _disk(server.directory)}

        yield Measured({"url": f"{server.url}/0"}, size)


@contextmanager
def _sqlite(stack: Stack, dimensions: int) -> Iterator[Measured]:
    path = stack.directory / f"sizes-{dimensions}"
    path.mkdir()
    yield Measured({"path": str(path / "memories.db")}, lambda: {"disk": _disk(path)})


@contextmanager
def _pgvector(stack: Stack, dimensions: int) -> Iterator[Measured]:
    with PostgresServer(stack.directory / f"postgres-{dimensions}", free_port()) as server:

        def size() -> dict[str, int]:
            with psycopg.connect(server.url) as connection:
                row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return {"disk": int(row[0])}

        yield Measured({"url": server.url}, size)


@contextmanager
def _weaviate(stack: Stack, dimensions: int) -> Iterator[Measured]:
    with stack.weaviate as server:
        settings = {"url": server.url, "grpc_port": server.grpc_port}

        def size() -> dict[str, int]:
            return {"memory": _resident(server), "disk": _disk(server.directory)}

        yield Measured(settings, size)


PLACES = {"redis": _redis, "sqlite": _sqlite, "pgvector": _pgvector, "weaviate": _weaviate}


def allocated(url: str) -> int:
    """Bytes that this Redis has allocated."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("memory")["used_memory"])


def _disk(directory: Path) -> int:
    """As blocks, so that files which are reserved and not written count for nothing."""
    return sum(512 * path.stat().st_blocks for path in directory.rglob("*") if path.is_file())


def _resident(server: Server) -> int:
    pages = Path(f"/proc/{server.pid}/statm").read_text().split()[1]
    return int(pages) * 4096
