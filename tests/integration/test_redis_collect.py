"""Collecting tombstones from Redis: whatever breaks off or comes between, nothing newer is harmed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from backends.redis.collect import Collect
from backends.redis.write import Writer
from memrelay.errors import Unavailable
from memrelay.testing.conformance.harness import Model, apply_all, assert_holds, assert_records
from memrelay.testing.samples import NOW, upsert, upserts
from memrelay.types import Delete, Op
from tests.redis_store import Interrupted, Store, crash, opened_store

END = 2**53 - 1
LIVE = {"u:r", "u:v", "u:x", "d:i", "d:z", "d:l", "d:p"}
"""The kinds of keys where there are memories of users and not one tombstone."""


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with opened_store(redis_url) as store:
        yield store


async def collect(store: Store, client: Interrupted, before: int) -> int | None:
    """What a collect through ``client`` removed; None if it was broken off."""
    try:
        return await Collect(client, store.keys, store.scope).run(before, 512)
    except Unavailable:
        return None
    finally:
        await client.close()


async def with_tombstones(store: Store) -> Model:
    """Five tombstones: three deletes, one of them after a move, one of what was never held, one of
    a memory that moved there and back; and tombstones that moved memories left behind."""
    moved = [upsert(f"m{n}", version=n, user_id="ann") for n in range(1, 7)]
    await apply_all(store.driver, store.scope, moved)
    again = [upsert(op.id, version=10 + op.version, user_id="bob") for op in moved]
    model = await apply_all(store.driver, store.scope, again)
    back: list[Op] = [upsert("m5", version=25, user_id="ann"), upsert("m6", version=26)]
    rest: list[Op] = [*(Delete(f"m{n}", 30 + n) for n in range(1, 4)), Delete("never", 40), *back]
    for part in (back, rest):
        model.apply(await applied(store, part))
    model.apply(await applied(store, [Delete("m5", 45), upsert("m7", version=50, user_id="bob")]))
    await assert_holds(store.driver, store.scope, model)
    return model


async def applied(store: Store, ops: Sequence[Op]) -> Sequence[Op]:
    await apply_all(store.driver, store.scope, ops)
    return ops


def without_tombstones(model: Model) -> Model:
    left = Model()
    left.apply(model.live())
    return left


async def test_collect_leaves_no_trace_of_tombstones(store: Store) -> None:
    model = await with_tombstones(store)
    assert {"u:t", "d:b", "d:m"} <= await store.kinds()
    assert await store.driver.collect(store.scope, before=END) == 5
    assert await store.kinds() == LIVE
    await assert_holds(store.driver, store.scope, without_tombstones(model))
    await assert_records(store.driver, store.scope, without_tombstones(model))


async def test_a_tombstone_that_is_not_below_the_version_still_bars_older_ops(store: Store) -> None:
    model = await with_tombstones(store)
    assert await store.driver.collect(store.scope, before=32) == 1
    for op in (upsert("m2", version=20, user_id="bob"), upsert("m3", version=32)):
        assert (await store.driver.apply(store.scope, [op]))[op.id].status == "stale"
    left = Model()
    left.apply(op for op in model.winners if op.id != "m1")
    await assert_holds(store.driver, store.scope, left)


async def test_tombstones_of_moves_are_collected_while_their_memories_live(store: Store) -> None:
    ops = upserts(300, users=("ann",))
    await apply_all(store.driver, store.scope, ops)
    moved = [upsert(op.id, version=1000 + op.version, user_id="bob") for op in ops]
    await apply_all(store.driver, store.scope, moved)
    for _ in range(4):
        assert await store.driver.collect(store.scope, before=END, limit=100) == 0
    assert await store.kinds() == LIVE


STEPS = range(1, 9)


@pytest.mark.parametrize("step", STEPS)
async def test_a_collect_that_broke_off_is_finished_by_the_next(store: Store, step: int) -> None:
    model = await with_tombstones(store)
    removed = await collect(store, Interrupted(store.url, step, crash), END)
    assert removed is None
    live = {op.id: op.memory for op in model.live()}
    assert await store.driver.get(store.scope, [*live, "m1", "m5"]) == live
    await store.driver.collect(store.scope, before=END)
    assert await store.kinds() == LIVE
    await assert_holds(store.driver, store.scope, without_tombstones(model))
    await assert_records(store.driver, store.scope, without_tombstones(model))


BETWEEN: dict[str, list[Op]] = {
    "written where it was": [upsert(id, version=90, user_id="bob") for id in ("m1", "m2", "m4")],
    "written where it was before": [upsert(id, version=90) for id in ("m1", "m2", "m4", "m5")],
    "written elsewhere": [upsert(id, version=90, user_id="cyd") for id in ("m1", "never", "m6")],
    "deleted again": [Delete(id, 90) for id in ("m1", "m5", "never")],
    "deleted": [Delete(id, 90) for id in ("m4", "m6", "m7")],
}


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("step", [*STEPS, STEPS.stop])
async def test_what_is_written_while_collect_runs_stays(store: Store, step: int, name: str) -> None:
    model = await with_tombstones(store)
    newer = BETWEEN[name]

    async def write() -> None:
        await apply_all(store.driver, store.scope, newer)

    client = Interrupted(store.url, step, write)
    assert await collect(store, client, 60) is not None
    if not client.happened:
        await write()
    model.apply(newer)
    left = Model()
    left.apply(op for op in model.winners if op.version >= 60 or not isinstance(op, Delete))
    await assert_holds(store.driver, store.scope, left)
    late = [upsert(op.id, version=70, user_id=user) for op in newer for user in ("ann", "bob")]
    for op in late:
        assert (await store.driver.apply(store.scope, [op]))[op.id].status == "stale"
    await assert_holds(store.driver, store.scope, left)
    await store.driver.collect(store.scope, before=END)
    await assert_holds(store.driver, store.scope, without_tombstones(left))
    assert await store.kinds() <= LIVE


@pytest.mark.parametrize("step", [*STEPS, STEPS.stop])
async def test_expiry_while_collect_runs_leaves_a_tombstone_that_is_collected(
    store: Store, step: int
) -> None:
    model = await with_tombstones(store)
    expiry = [Delete(op.id, op.version) for op in model.live() if op.id != "m7"]

    async def expire() -> None:
        await apply_all(store.driver, store.scope, expiry)

    await collect(store, Interrupted(store.url, step, expire), END)
    await store.driver.collect(store.scope, before=END)
    model.apply(expiry)
    await assert_holds(store.driver, store.scope, without_tombstones(model))
    assert await store.kinds() == LIVE


@pytest.mark.parametrize("step", STEPS)
async def test_a_late_put_of_a_newer_op_meets_the_tombstone_that_bars_it(
    store: Store, step: int
) -> None:
    model = await with_tombstones(store)
    entered, released = asyncio.Event(), asyncio.Event()
    barred, delete = upsert("m1", version=70, user_id="bob"), Delete("m1", 90)

    async def wait() -> None:
        entered.set()
        await released.wait()

    async def overtake() -> None:
        tasks.append(asyncio.create_task(late.apply([barred])))
        await entered.wait()
        await apply_all(store.driver, store.scope, [delete])

    tasks: list[asyncio.Task[object]] = []
    client = Interrupted(store.url, 2, wait)
    late = Writer(client, store.keys, store.scope)
    assert await collect(store, Interrupted(store.url, step, overtake), 60) is not None
    released.set()
    await asyncio.gather(*tasks)
    await client.close()
    left = without_tombstones(model)
    left.apply([delete])
    await assert_holds(store.driver, store.scope, left)


@pytest.mark.parametrize("step", [2, 3])
async def test_a_delete_that_broke_off_is_finished_before_it_is_collected(
    store: Store, step: int
) -> None:
    model = await apply_all(store.driver, store.scope, upserts(3))
    client = Interrupted(store.url, step, crash)
    with contextlib.suppress(Unavailable):
        await Writer(client, store.keys, store.scope).apply([Delete("m00001", 9)])
    await client.close()
    assert client.happened
    assert await store.driver.records(store.scope, ["m00001"]) == {}
    assert await store.driver.collect(store.scope, before=END) == 1
    model.apply([Delete("m00001", 9)])
    await assert_holds(store.driver, store.scope, without_tombstones(model))
    assert await store.kinds() == LIVE


async def test_lines_that_damage_left_are_cleared_away_and_not_counted(store: Store) -> None:
    model = await with_tombstones(store)
    for id, version in (("m1", 31), ("m4", 14)):
        await store.redis.hdel(store.shard(id).entries, id)
        assert (await store.driver.scan(store.scope, since=version)).entries[0].id != id
    assert await store.driver.collect(store.scope, before=END) == 4
    [op] = [op for op in model.live() if op.id == "m4"]
    await apply_all(store.driver, store.scope, [op])
    await assert_holds(store.driver, store.scope, without_tombstones(model))


async def test_two_collects_at_once_count_each_tombstone_once(store: Store) -> None:
    dead = [Delete(f"d{n}", n + 1) for n in range(400)]
    await apply_all(store.driver, store.scope, [upsert(op.id, version=0) for op in dead])
    await apply_all(store.driver, store.scope, dead)
    collects = (store.driver.collect(store.scope, before=END, limit=400) for _ in range(4))
    assert sum(await asyncio.gather(*collects)) == 400


@pytest.mark.parametrize("seed", range(8))
async def test_writes_that_race_and_crash_while_collect_runs_end_in_the_highest_version(
    store: Store, seed: int
) -> None:
    rng = random.Random(seed)
    older, newer = _history(rng, range(1, 30)), _history(rng, range(30, 60))
    for op in older:
        await store.driver.apply(store.scope, [op])

    async def write(op: Op, happens: Callable[[], Awaitable[None]]) -> None:
        client = Interrupted(store.url, rng.randint(1, 8), happens)
        with contextlib.suppress(Unavailable):
            await Writer(client, store.keys, store.scope).apply([op])
        await client.close()

    collects = (
        collect(store, Interrupted(store.url, rng.randint(1, 9), crash), 30) for _ in range(6)
    )
    await asyncio.gather(*(write(op, crash) for op in newer), *collects)
    await asyncio.gather(
        *(store.driver.apply(store.scope, [op]) for op in newer),
        *(store.driver.collect(store.scope, before=30) for _ in range(3)),
    )
    model = Model()
    model.apply([*older, *newer])
    left = Model()
    left.apply(op for op in model.winners if op.version >= 30 or not isinstance(op, Delete))
    await store.driver.collect(store.scope, before=30)
    await assert_holds(store.driver, store.scope, left)
    await store.driver.collect(store.scope, before=END)
    await assert_holds(store.driver, store.scope, without_tombstones(left))
    assert not {"u:t", "p:t", "d:b", "d:m"} & await store.kinds()
    assert await store.driver.count(store.scope, None, now=NOW) == len(left.live())


def _history(rng: random.Random, versions: range) -> list[Op]:
    ops: list[Op] = []
    for version in versions:
        id = f"id{rng.randrange(4)}"
        user = rng.choice(["ann", "bob", None])
        dead = rng.random() < 0.4
        ops.append(Delete(id, version) if dead else upsert(id, version=version, user_id=user))
    rng.shuffle(ops)
    return ops
