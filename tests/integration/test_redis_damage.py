"""Damage made in Redis behind the driver's back: it is seen, harms no read, and the same op mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from backends.redis.keys import PartitionKeys, ShardKeys, user_partition
from memrelay.errors import Permanent
from memrelay.testing.conformance.harness import (
    Model,
    apply_all,
    assert_holds,
    assert_records,
    parsed,
    scanned,
    semantic,
)
from memrelay.testing.samples import NOW, SPACE, upsert, upserts, vector
from memrelay.types import Delete, Op, Upsert, memory_to_json
from tests.redis_store import Store, opened_store


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    async with opened_store(redis_url) as store:
        yield store


ID = "m00004"


@dataclass
class Victim:
    """One memory, and the keys that bear on it."""

    store: Store
    op: Upsert

    @property
    def redis(self) -> Any:
        return self.store.redis

    @property
    def home(self) -> PartitionKeys:
        return self.store.home(self.op.memory)

    @property
    def shard(self) -> ShardKeys:
        return self.store.shard(self.op.id)

    @property
    def line(self) -> str:
        return f"{self.op.version:019d}{self.op.id}"

    async def rewrite(self, stamp: str | None = None, body: bytes | None = None) -> None:
        record = await self.redis.hget(self.home.records, self.op.id)
        head = record[:20] if stamp is None else stamp.encode()
        body = record[20:] if body is None else body
        await self.redis.hset(self.home.records, self.op.id, head + body)

    async def enter(self, part: int, text: str) -> None:
        """Put something else in one of the four parts of the directory's entry."""
        entry = (await self.redis.hget(self.shard.entries, self.op.id)).decode().split(" ")
        entry[part] = text
        await self.redis.hset(self.shard.entries, self.op.id, " ".join(entry))

    async def replace_vectors(self, *how: Any, dimensions: int = SPACE.dimensions) -> None:
        """Another vector set in place of the partition's, with an element of this id."""
        await self.redis.unlink(self.home.vectors)
        values = vector("other", dimensions)
        await self.redis.execute_command(
            "VADD", self.home.vectors, "FP32", values, self.op.id, *how
        )

    async def add_to(self, place: PartitionKeys) -> None:
        """The memory, as it was written, comes to a partition that knows nothing of it."""
        record = b"%019d0" % self.op.version + memory_to_json(self.op.memory)
        await self.redis.hset(place.records, self.op.id, record)
        how = ("NOQUANT", "M", 4)
        values = ("FP32", self.op.vector, self.op.id)
        await self.redis.execute_command("VADD", place.vectors, *values, *how)


type Damage = Callable[[Victim], Awaitable[Any]]

READABLE: dict[str, Damage] = {
    "record deleted": lambda v: v.redis.hdel(v.home.records, v.op.id),
    "record altered": lambda v: v.rewrite(body=memory_to_json(upsert(ID, text="forged").memory)),
    "record is not JSON": lambda v: v.rewrite(body=b"{"),
    "record is no object": lambda v: v.rewrite(body=b"[1]"),
    "record is text": lambda v: v.redis.hset(v.home.records, v.op.id, "zzz"),
    "record's stamp raised": lambda v: v.rewrite(stamp="9" * 19 + "0"),
    "record's stamp lowered": lambda v: v.rewrite(stamp="0" * 20),
    "record back where it was": lambda v: v.add_to(v.store.keys.partition(user_partition("old"))),
    "element deleted": lambda v: v.redis.execute_command("VREM", v.home.vectors, v.op.id),
    "vectors deleted": lambda v: v.redis.unlink(v.home.vectors),
    "time deleted": lambda v: v.redis.zrem(v.home.times, v.op.id),
    "time altered": lambda v: v.redis.zadd(v.home.times, {v.op.id: 7}),
    "partition deleted": lambda v: v.redis.unlink(*v.home.all),
    "partition not registered": lambda v: v.redis.unlink(
        *(shard.partitions for shard in v.store.keys.shards)
    ),
    "entry deleted": lambda v: v.redis.hdel(v.shard.entries, v.op.id),
    "entry is text": lambda v: v.redis.hset(v.shard.entries, v.op.id, "zzz"),
    "entry's stamp raised": lambda v: v.enter(0, "9" * 20),
    "entry's stamp lowered": lambda v: v.enter(0, "0" * 20),
    "entry's digest altered": lambda v: v.enter(1, "0" * 32),
    "entry made a tombstone": lambda v: v.enter(1, "-"),
    "entry's home altered": lambda v: v.enter(2, user_partition("nobody")),
    "line of the order deleted": lambda v: v.redis.zrem(v.shard.order, v.line),
    "line of the living deleted": lambda v: v.redis.zrem(v.shard.live, v.op.id),
    "line of the buried added": lambda v: v.redis.zadd(v.shard.buried, {v.line: 0}),
    "expiry deleted": lambda v: v.redis.zrem(v.shard.expiry, v.op.id),
    "expiry altered": lambda v: v.redis.zadd(v.shard.expiry, {v.op.id: 1}),
    "directory's shard deleted": lambda v: v.redis.unlink(*v.shard.directory),
}
UNREADABLE: dict[str, Damage] = {
    "vectors of another dimension": lambda v: v.replace_vectors("NOQUANT", dimensions=3),
    "vectors quantized": lambda v: v.replace_vectors("Q8"),
    "vectors of another type": lambda v: v.redis.set(v.home.vectors, "x"),
    "records of another type": lambda v: v.redis.set(v.home.records, "x"),
    "times of another type": lambda v: v.redis.set(v.home.times, "x"),
}


async def filled(store: Store) -> tuple[Model, Victim]:
    """Memories of three partitions; the victim has moved here from a user "old" and expires some day."""
    await apply_all(store.driver, store.scope, [upsert(ID, version=1, user_id="old")])
    ops: list[Op] = [*upserts(12, first_version=10, users=("ann", "bob", None))]
    ops.append(Delete("gone", 30))
    victim = upsert(ID, version=14, user_id="bob", expires_at=NOW + 10**9)
    ops[4] = victim
    model = await apply_all(store.driver, store.scope, ops)
    await assert_records(store.driver, store.scope, model)
    return model, Victim(store, victim)


@pytest.mark.parametrize("name", [*READABLE, *UNREADABLE])
async def test_damage_is_seen_and_mended_by_the_op_of_the_same_version(
    store: Store, name: str
) -> None:
    driver, scope = store.driver, store.scope
    model, victim = await filled(store)
    await (READABLE | UNREADABLE)[name](victim)
    assert ID not in await driver.records(scope, [ID])
    outcomes = await driver.apply(scope, [victim.op])
    assert outcomes[ID].status == "applied"
    assert await driver.records(scope, [ID])
    await apply_all(driver, scope, model.winners)  # others may have been hit as well
    await assert_holds(driver, scope, model)
    await assert_records(driver, scope, model)
    assert await driver.expired(scope, now=NOW) == []


@pytest.mark.parametrize("name", READABLE)
async def test_damage_to_one_memory_fails_no_read_of_others(store: Store, name: str) -> None:
    driver, scope = store.driver, store.scope
    model, victim = await filled(store)
    await READABLE[name](victim)
    others = {op.id for op in model.live()} - {ID}
    hit = {"vectors deleted", "partition deleted", "directory's shard deleted"}
    user = {"user_id": {"$in": ["ann", "bob"]}}
    found = {hit.memory.id for hit in await semantic(driver, scope, user, now=0)}
    got = set(await driver.get(scope, list(others)))
    listed = {memory.id for memory in await driver.find(scope, None)}
    ids = {entry.id for entry in await scanned(driver, scope)}
    assert await driver.expired(scope, now=NOW) == []
    assert await driver.count(scope, parsed(scope, user), now=0) in range(9)
    if name not in hit:
        assert {id for id in others if "ann" in _user(model, id)} <= found
        assert got == others
        assert others <= listed
        assert others <= ids


def _user(model: Model, id: str) -> str:
    [op] = [op for op in model.live() if op.id == id]
    return op.memory.user_id or ""


@pytest.mark.parametrize("mended_by", [upsert(ID, version=20, user_id="bob"), Delete(ID, 20)])
@pytest.mark.parametrize(
    "name", ["record's stamp raised", "record is text", "entry is text", "vectors of another type"]
)
async def test_a_newer_op_is_not_barred_by_damage(store: Store, name: str, mended_by: Op) -> None:
    driver, scope = store.driver, store.scope
    model, victim = await filled(store)
    await (READABLE | UNREADABLE)[name](victim)
    outcomes = await driver.apply(scope, [mended_by])
    assert outcomes[ID].status == "applied"
    await apply_all(driver, scope, [op for op in model.winners if op.id != ID])  # hit as well
    model.apply([mended_by])
    if name != "entry is text":  # then nothing knows where the record of a delete lies
        await assert_holds(driver, scope, model)


async def test_a_planted_tombstone_bars_nothing(store: Store) -> None:
    model, victim = await filled(store)
    await store.redis.hset(victim.home.tombstones, ID, "9" * 19 + "1")
    newer = upsert(ID, version=40, user_id="bob")
    assert (await store.driver.apply(store.scope, [newer]))[ID].status == "applied"
    model.apply([newer])
    await assert_holds(store.driver, store.scope, model)
    await assert_records(store.driver, store.scope, model)


@pytest.mark.parametrize("lost", ["entries", "order"])
async def test_a_directory_that_lost_a_key_lets_no_older_op_over_a_newer_memory(
    store: Store, lost: str
) -> None:
    model, victim = await filled(store)
    await store.redis.unlink(getattr(victim.shard, lost))
    older = upsert(ID, version=12, user_id="bob", text="older")
    assert (await store.driver.apply(store.scope, [older]))[ID].status == "stale"
    assert (await store.driver.get(store.scope, [ID]))[ID] == victim.op.memory
    await apply_all(store.driver, store.scope, model.winners)
    await assert_holds(store.driver, store.scope, model)


async def test_a_line_that_damage_left_in_the_order_lets_no_older_op_in(store: Store) -> None:
    model, victim = await filled(store)
    await store.redis.hdel(victim.shard.entries, ID)
    newer = upsert(ID, version=40, user_id="bob")
    await apply_all(store.driver, store.scope, [newer])
    assert (await store.driver.apply(store.scope, [victim.op]))[ID].status == "stale"
    model.apply([newer])
    await assert_holds(store.driver, store.scope, model)


async def test_a_delete_is_mended_where_its_memory_came_back(store: Store) -> None:
    driver, scope = store.driver, store.scope
    model, victim = await filled(store)
    delete = Delete(ID, 50)
    await apply_all(driver, scope, [delete])
    await victim.add_to(victim.home)
    assert ID in {hit.memory.id for hit in await semantic(driver, scope, now=0)}
    assert await driver.records(scope, [ID]) == {}
    await apply_all(driver, scope, [delete])
    model.apply([delete])
    await assert_holds(driver, scope, model)
    await assert_records(driver, scope, model)


@pytest.mark.parametrize("index", ["order", "buried"])
async def test_a_delete_is_mended_where_its_line_is_gone(store: Store, index: str) -> None:
    driver, scope = store.driver, store.scope
    await apply_all(driver, scope, [upsert("a", version=1)])
    model = await apply_all(driver, scope, [Delete("a", 5)])
    await store.redis.zrem(getattr(store.shard("a"), index), f"{5:019d}a")
    assert await driver.records(scope, ["a"]) == {}
    await apply_all(driver, scope, [Delete("a", 5)])
    await assert_holds(driver, scope, model)
    await assert_records(driver, scope, model)


async def test_an_altered_vector_is_mended_and_an_unchanged_one_not_added_again(
    store: Store,
) -> None:
    driver, scope = store.driver, store.scope
    model, victim = await filled(store)
    await victim.replace_vectors("NOQUANT", "M", 20)
    await apply_all(driver, scope, [op for op in model.winners if op.id != ID])
    before = await _added(store)
    await apply_all(driver, scope, [victim.op])
    assert await _added(store) == before + 1
    await assert_holds(driver, scope, model)
    await apply_all(driver, scope, model.winners)
    patched = upsert(ID, version=60, user_id="bob", text="patched", vector=victim.op.vector)
    model.apply([patched])
    await apply_all(driver, scope, [patched])
    assert await _added(store) == before + 1
    await assert_holds(driver, scope, model)


async def _added(store: Store) -> int:
    """How many VADD the server has run."""
    return int((await store.redis.info("commandstats"))["cmdstat_VADD"]["calls"])


async def test_expiry_that_only_the_index_claims_deletes_nothing(store: Store) -> None:
    driver, scope = store.driver, store.scope
    over = [upsert(f"e{n}", version=100 + n, expires_at=NOW) for n in range(3)]
    await apply_all(driver, scope, [*upserts(60), *over])
    for op in upserts(60):
        await store.redis.zadd(store.shard(op.id).expiry, {op.id: 1})
    deletes = await driver.expired(scope, now=NOW, limit=3)
    assert sorted(delete.id for delete in deletes) == ["e0", "e1", "e2"]


async def test_reading_a_key_of_another_type_is_permanent_and_the_next_write_mends_it(
    store: Store,
) -> None:
    model, victim = await filled(store)
    await store.redis.set(victim.home.records, "x")
    with pytest.raises(Permanent):
        await store.driver.get(store.scope, [ID])
    await apply_all(store.driver, store.scope, model.winners)
    await assert_holds(store.driver, store.scope, model)
