"""Reconcile between stores of different kinds: Redis, SQLite and Weaviate are brought to one."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from backends.reconcile import Plan, reconcile
from backends.redis.keys import Keys, keys_of
from backends.redis.settings import Settings
from backends.registry import create_driver
from memrelay.driver import Driver
from memrelay.testing.conformance.harness import fresh_scope
from memrelay.testing.samples import upsert, upserts
from memrelay.types import Delete, Op, Scope, Space, Upsert
from tests.replicas import assert_one, entries_of, peers_of, put
from tests.servers import Weaviate

MISSED = 100_000
BAR_SECONDS = 120


@pytest.fixture
def scope() -> Scope:
    return fresh_scope()


@pytest.fixture
def prefix() -> str:
    return f"t-{uuid.uuid4().hex}"


@asynccontextmanager
async def opened(scope: Scope, *drivers: Driver) -> AsyncIterator[tuple[Driver, ...]]:
    try:
        for driver in drivers:
            await driver.open()
            await driver.ensure(scope)
        yield drivers
    finally:
        for driver in drivers:
            await driver.purge(scope)
            await driver.close()


@pytest.fixture
async def pair(
    scope: Scope, redis_url: str, prefix: str, tmp_path: Path
) -> AsyncIterator[tuple[Driver, ...]]:
    """Redis, the primary, and SQLite."""
    redis = create_driver("redis", {"url": redis_url, "prefix": prefix})
    sqlite = create_driver("sqlite", {"path": tmp_path / "memories.db"})
    async with opened(scope, redis, sqlite) as drivers:
        yield drivers


def history(seed: int, length: int) -> list[Op]:
    """Upserts by changing users, deletes and expiries of 40 ids, in the order of their versions."""
    rng = random.Random(seed)
    ops: list[Op] = []
    newest: dict[str, int] = {}
    for version in range(1, length + 1):
        id = f"m{rng.randrange(40)}"
        kind = rng.choice(("upsert", "upsert", "upsert", "delete", "expire"))
        if kind == "upsert":
            newest[id] = version
            ops.append(upsert(id, version=version, user_id=rng.choice(("ann", "bob", None))))
        else:
            ops.append(Delete(id, version if kind == "delete" else newest.get(id, version)))
    return ops


@pytest.mark.parametrize("seed", range(3))
async def test_three_stores_that_got_parts_of_a_history_become_one(
    seed: int,
    scope: Scope,
    pair: tuple[Driver, ...],
    weaviate: Weaviate,
) -> None:
    settings = {"url": weaviate.url, "grpc_port": weaviate.grpc_port}
    async with opened(scope, create_driver("weaviate", settings)) as (third,):
        drivers = [*pair, third]
        rng = random.Random(seed)
        given: list[Op] = []
        for op in rng.sample(ops := history(seed, 120), len(ops)):
            receivers = rng.sample(drivers, rng.randrange(3))
            for driver in receivers:
                await put(driver, scope, op)
            given += [op] if receivers else []
        found = await reconcile(scope, peers_of(*drivers), Plan(page=7))
        assert found.divergence.settled
        assert not found.divergence.sound
        await assert_one(scope, drivers, given)
        again = await reconcile(scope, peers_of(*drivers), Plan(deep=True))
        assert again.divergence.sound, again.divergence
        assert again.divergence.compared == len(entries_of(given))


type Hurt = Callable[[Keys, str], tuple[object, ...]]
HURTS: Mapping[str, Hurt] = {
    "no vector": lambda keys, id: (
        "VREM",
        keys.partition(keys.home(upsert(id).memory)).vectors,
        id,
    ),
    "no record": lambda keys, id: (
        "HDEL",
        keys.partition(keys.home(upsert(id).memory)).records,
        id,
    ),
}


@pytest.mark.parametrize("kind", HURTS)
async def test_what_redis_lost_behind_our_back_is_mended_from_sqlite(
    kind: str, scope: Scope, pair: tuple[Driver, ...], redis_url: str, prefix: str
) -> None:
    memories = upserts(30)
    for driver in pair:
        await put(driver, scope, *memories)
    keys = keys_of(Settings(url=redis_url, prefix=prefix), scope)
    async with Redis.from_url(redis_url) as server:
        client: Any = server
        assert await client.execute_command(*HURTS[kind](keys, "m00007")) == 1
    found = (await reconcile(scope, peers_of(*pair), Plan(deep=True))).divergence
    assert found.peers["redis"].examples == {"damaged": ("m00007",), "repaired": ("m00007",)}
    assert found.peers["sqlite"].total == 0
    await assert_one(scope, pair, memories)


def many(count: int, dimensions: int) -> list[Op]:
    """Memories of 50 users with vectors of their own."""
    vectors = np.random.default_rng(1).standard_normal((count, dimensions)).astype("<f4")
    return [
        Upsert(replace(op.memory, user_id=f"user{number % 50}"), vectors[number].tobytes())
        for number, op in enumerate(upserts(count))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("full", [0, 1], ids=["redis-to-sqlite", "sqlite-to-redis"])
async def test_a_replica_that_missed_100_000_memories_converges_within_the_bar(
    full: int, pair: tuple[Driver, ...]
) -> None:
    scope = replace(fresh_scope(), space=Space("converges", 256))
    await put(pair[full], scope, *many(MISSED, 256))
    start = time.monotonic()
    found = (await reconcile(scope, peers_of(*pair))).divergence
    seconds = time.monotonic() - start
    assert found.peers[pair[1 - full].name].repaired == MISSED
    assert found.settled
    for driver in pair:
        await driver.purge(scope)
    assert seconds <= BAR_SECONDS, f"{MISSED} memories took {seconds:.0f} s"
