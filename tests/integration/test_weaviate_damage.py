"""What others do to objects directly is told, hides nothing else, and is mended by the next apply."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from backends.weaviate import create
from backends.weaviate.connection import Collection
from backends.weaviate.driver import WeaviateDriver
from backends.weaviate.objects import (
    CREATED_AT,
    DELETED,
    DIGEST,
    EXPIRES_AT,
    LARGEST,
    OID,
    RECORD,
    SCALE,
    SOURCE,
    TEXT,
    TOKENS,
    VERSION,
    collection_name,
    number_property,
    object_id,
    stored,
    to_oid,
)
from memrelay.driver import Query
from memrelay.filters import parse_filter
from memrelay.testing.conformance.harness import Model, apply_all, assert_holds
from memrelay.testing.samples import NOW, SPACE, upsert, vector
from memrelay.types import Delete, Op, Scope, Space
from tests.servers import Weaviate

GOOD = upsert("good", version=1)
HURT = upsert("hurt", version=2, metadata={"n": 5}, tags=("x",))
GONE = Delete("gone", 3)
OPS: list[Op] = [GOOD, HURT, GONE]

Damage = Callable[[Collection, uuid.UUID], Awaitable[object]]


@pytest.fixture
async def driver(weaviate: Weaviate) -> AsyncIterator[WeaviateDriver]:
    driver = create("wv", {"url": weaviate.url, "grpc_port": weaviate.grpc_port})
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def scope(driver: WeaviateDriver) -> AsyncIterator[Scope]:
    """A scope in a collection of its own, with GOOD, HURT and GONE."""
    space = Space(f"test/{uuid.uuid4().hex}", SPACE.dimensions)
    scope = Scope(namespace="acme", source="default", space=space, fields={"n": "number"})
    await driver.ensure(scope)
    await apply_all(driver, scope, OPS)
    yield scope
    await driver._connection.client.collections.delete(collection_name(space))


def altered(**properties: Any) -> Damage:
    """Set properties; None takes one away. The vector stays."""

    async def damage(objects: Collection, at: uuid.UUID) -> None:
        await objects.data.update(at, properties=properties)

    return damage


async def removed(objects: Collection, at: uuid.UUID) -> None:
    await objects.data.delete_by_id(at)


async def without_vector(objects: Collection, at: uuid.UUID) -> None:
    held = await objects.query.fetch_object_by_id(at)
    await objects.data.replace(at, properties=_given(held.properties))


async def without_properties(objects: Collection, at: uuid.UUID) -> None:
    await objects.data.replace(at, properties={}, vector=[1.0] * SPACE.dimensions)


def _given(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if value is not None}


DAMAGE: dict[str, Damage] = {
    "removed": removed,
    "without vector": without_vector,
    "without properties": without_properties,
    "record of another text": altered(**{RECORD: '{"id":"hurt","text":"forged"}'}),
    "record that is no JSON": altered(**{RECORD: "{"}),
    "record of a list": altered(**{RECORD: "[]"}),
    "record of odd types": altered(
        **{
            RECORD: '{"created_at":0,"expires_at":"x","id":"hurt","metadata":[],"session_id":null,'
            '"tags":[],"text":1,"user_id":null}'
        }
    ),
    "no record": altered(**{RECORD: None}),
    "other words": altered(**{TEXT: "forged"}),
    "other digest": altered(**{DIGEST: "0" * 32}),
    "no digest": altered(**{DIGEST: None}),
    "other source": altered(**{SOURCE: "0" * 32}),
    "other id": altered(**{OID: to_oid("somebody")}),
    "id that is no hex": altered(**{OID: "zzz"}),
    "no id": altered(**{OID: None}),
    "no version": altered(**{VERSION: None}),
    "marked as deleted": altered(**{DELETED: True}),
    "neither deleted nor not": altered(**{DELETED: None}),
    "no tokens": altered(**{TOKENS: []}),
    "other time": altered(**{CREATED_AT: 1}),
    "expired": altered(**{EXPIRES_AT: 1}),
    "no expiry": altered(**{EXPIRES_AT: None}),
    "other number": altered(**{number_property("n"): 6.0}),
    "odd scale": altered(**{SCALE: 3}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_damaged_memory_is_left_out_of_records_until_it_is_applied_again(
    driver: WeaviateDriver, scope: Scope, damage: Damage
) -> None:
    ids = [op.id for op in OPS]
    assert await driver.records(scope, ids) == {op.id: op for op in OPS}
    await damage(driver._connection.collection(scope), object_id(scope, "hurt"))
    assert await driver.records(scope, ids) == {"good": GOOD, "gone": GONE}
    await _assert_reads_go_on(driver, scope)
    model = await apply_all(driver, scope, [HURT])
    model.apply([GOOD, GONE])
    assert await driver.records(scope, ids) == {op.id: op for op in OPS}
    await assert_holds(driver, scope, model)
    assert await _keyword(driver, scope, HURT.memory.text) >= {"hurt"}
    number = parse_filter({"metadata.n": {"$gte": 5, "$lte": 5}}, scope.fields)
    assert [memory.id for memory in await driver.find(scope, number)] == ["hurt"]


async def _assert_reads_go_on(driver: WeaviateDriver, scope: Scope) -> None:
    """No read fails for a memory that is damaged, and none loses the sound one."""
    near = Query(mode="semantic", vector=vector("q"), top_k=10, now=NOW)
    assert "good" in {hit.memory.id for hit in await driver.search(scope, near)}
    assert "good" in await _keyword(driver, scope, GOOD.memory.text)
    assert {"good"} <= set(await driver.get(scope, ["good", "hurt", "gone"])) <= {"good", "hurt"}
    inexact = parse_filter({"metadata.n": {"$exists": False}}, scope.fields)
    for node in (None, inexact):
        assert "good" in {memory.id for memory in await driver.find(scope, node)}
        assert 1 <= await driver.count(scope, node, now=NOW) <= 2
    entries = (await driver.scan(scope)).entries
    assert {("good", 1), ("gone", 3)} <= {(entry.id, entry.version) for entry in entries}
    assert all(entry.digest is not None for entry in entries if entry.id == "hurt")
    assert await driver.expired(scope, now=NOW) == []


async def _keyword(driver: WeaviateDriver, scope: Scope, words: str) -> set[str]:
    query = Query(mode="keyword", text=words, top_k=10, now=NOW)
    return {hit.memory.id for hit in await driver.search(scope, query)}


TOMBSTONE_DAMAGE: dict[str, Damage] = {
    "removed": removed,
    "without properties": without_properties,
    "a record": altered(**{RECORD: "{}"}),
    "not deleted": altered(**{DELETED: False}),
    "other source": altered(**{SOURCE: "0" * 32}),
    "no id": altered(**{OID: None}),
    "no version": altered(**{VERSION: None}),
}


@pytest.mark.parametrize("damage", TOMBSTONE_DAMAGE.values(), ids=TOMBSTONE_DAMAGE.keys())
async def test_a_damaged_tombstone_is_mended_by_its_delete(
    driver: WeaviateDriver, scope: Scope, damage: Damage
) -> None:
    await damage(driver._connection.collection(scope), object_id(scope, "gone"))
    assert await driver.records(scope, ["gone"]) == {}
    assert await driver.get(scope, ["gone"]) == {}
    await apply_all(driver, scope, [GONE])
    model = Model()
    model.apply(OPS)
    await assert_holds(driver, scope, model)
    assert await driver.records(scope, ["gone"]) == {"gone": GONE}


async def test_a_copy_of_a_memory_elsewhere_is_not_found_and_goes_when_it_is_mended(
    driver: WeaviateDriver, scope: Scope
) -> None:
    objects = driver._connection.collection(scope)
    copy = stored(scope, replace(HURT, memory=replace(HURT.memory, version=9)))
    await objects.data.insert({**copy.properties, SCALE: 1}, vector=list(copy.vector or ()))
    near = Query(mode="semantic", vector=HURT.vector, top_k=10, now=NOW)
    assert sorted(hit.memory.id for hit in await driver.search(scope, near)) == ["good", "hurt"]
    assert [memory.version for memory in await driver.find(scope, None)] == [1, 2]
    assert [e.version for e in (await driver.scan(scope)).entries if e.id == "hurt"] == [2, 9]
    model = await apply_all(driver, scope, [HURT])
    model.apply([GOOD, GONE])
    await assert_holds(driver, scope, model)


async def test_a_memory_put_in_directly_under_an_id_of_nobody_is_told_by_scan_alone(
    driver: WeaviateDriver, scope: Scope
) -> None:
    objects = driver._connection.collection(scope)
    forged = stored(scope, upsert("forged", version=7))
    await objects.data.insert({**forged.properties, SCALE: 1}, vector=list(forged.vector or ()))
    assert "forged" in {entry.id for entry in (await driver.scan(scope)).entries}
    assert await driver.records(scope, ["forged"]) == {}
    assert await driver.get(scope, ["forged"]) == {}
    assert "forged" not in {memory.id for memory in await driver.find(scope, None)}
    await driver.purge(scope)
    assert (await driver.scan(scope)).entries == []


async def test_what_is_damaged_beyond_a_scan_is_purged_too(
    driver: WeaviateDriver, scope: Scope
) -> None:
    objects = driver._connection.collection(scope)
    await altered(**{OID: None, VERSION: None})(objects, object_id(scope, "hurt"))
    await driver.purge(scope)
    assert await objects.query.fetch_object_by_id(object_id(scope, "hurt")) is None


async def test_a_memory_is_expired_only_if_its_record_says_so(
    driver: WeaviateDriver, scope: Scope
) -> None:
    late = upsert("late", version=4, expires_at=NOW)
    await apply_all(driver, scope, [late])
    objects = driver._connection.collection(scope)
    await altered(**{EXPIRES_AT: 1})(objects, object_id(scope, "hurt"))
    assert await driver.expired(scope, now=NOW) == [Delete("late", 4)]
    await altered(**{EXPIRES_AT: LARGEST})(objects, object_id(scope, "late"))
    assert await driver.expired(scope, now=NOW) == []
    assert set(await driver.records(scope, ["late", "hurt"])) == set()


async def test_numbers_of_before_their_declaration_are_sound(
    driver: WeaviateDriver, scope: Scope
) -> None:
    plain = replace(scope, source="plain", fields={})
    op = upsert("a", source="plain", metadata={"n": 1, "m": 2})
    await apply_all(driver, plain, [op])
    for names in ("", "n", "nm"):
        declared = replace(plain, fields=dict.fromkeys(names, "number"))
        await driver.ensure(declared)
        assert await driver.records(declared, ["a"]) == {"a": op}
    await apply_all(driver, declared, [op])
    assert await driver.records(plain, ["a"]) == {"a": op}
