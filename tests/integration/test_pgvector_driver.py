"""The pgvector driver on a real server: its schema, its row policies, many writers, what it cannot hold."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from backends.pgvector import create
from backends.pgvector.conditions import Sql
from backends.pgvector.connections import Connections
from backends.pgvector.driver import PgvectorDriver
from backends.pgvector.layout import MIGRATIONS, place_of
from backends.pgvector.settings import Settings
from deploy.native.postgres import PostgresServer
from memrelay.driver import Query
from memrelay.errors import ConfigError, Permanent, Unavailable
from memrelay.testing.conformance.harness import Model, apply_all, assert_holds
from memrelay.testing.samples import NOW, SPACE, upsert, upserts, vector
from memrelay.types import Delete, Op, Outcome, Scope, vector_to_bytes

SCOPE = Scope(namespace="tests", source="default", space=SPACE)
OTHER = dataclasses.replace(SCOPE, namespace="other")
MEMORIES = f"memories_{SPACE.slug}"
URL = "postgresql://ana:canary@127.0.0.1/app"
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
async def schema(postgres_url: str) -> AsyncIterator[str]:
    """One of the test's own, gone afterwards."""
    name = f"test_{uuid4().hex}"
    yield name
    await execute(postgres_url, f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
async def driver(postgres_url: str, schema: str) -> AsyncIterator[PgvectorDriver]:
    driver = create("replica", {"url": postgres_url, "schema": schema})
    await driver.open()
    yield driver
    await driver.close()


async def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last one, past the driver."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


def named(scope: Scope) -> str:
    return f"SET memrelay.scope = '{place_of(scope).scope}'"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": "mysql://ana:canary@127.0.0.1/app"}, "url"),
        ({"url": f"{URL}?canary=canary"}, "url"),
        ({"url": "postgresql://ana:canary@127.0.0.1:port/app"}, "url"),
        ({"url": URL, "schema": "Robert'); DROP"}, "schema"),
        ({"url": URL, "connections": 0}, "connections"),
        ({"url": URL, "timeout": "soon"}, "timeout"),
        ({"url": URL, "index": "lsh"}, "index"),
        ({"url": URL, "exact_rows": -1}, "exact_rows"),
        ({"url": URL, "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_setting_is_named_without_its_secret(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^drivers\.replica\.{key}: [^\n]+$") as caught:
        create("replica", settings)
    assert "canary" not in str(caught.value)
    assert "schema_" not in str(caught.value)


async def test_a_server_that_is_not_there_is_one_clear_line_without_the_secret(
    unused_tcp_port: int,
) -> None:
    driver = create("replica", {"url": f"postgresql://ana:canary@127.0.0.1:{unused_tcp_port}/app"})
    with pytest.raises(Unavailable) as caught:
        await driver.open()
    assert f"127.0.0.1:{unused_tcp_port}/app" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await driver.close()


async def test_a_database_that_is_not_there_may_come(postgres_url: str) -> None:
    url = urlsplit(postgres_url)._replace(path="/nowhere").geturl()
    with pytest.raises(Unavailable, match="nowhere"):
        await create("replica", {"url": url}).open()


async def test_a_driver_that_is_not_open_says_so(driver: PgvectorDriver) -> None:
    with pytest.raises(Unavailable, match="replica is not open"):
        await create("replica", {"url": URL}).ping()
    await driver.close()
    with pytest.raises(Unavailable, match="replica is not open"):
        await driver.get(SCOPE, ["a"])


def history() -> list[Op]:
    """600 writes of 40 ids: what every process applies, in an order of its own."""
    rng = random.Random(1)
    ops: list[Op] = []
    for version in range(1, 601):
        id = f"id{version % 40}"
        if rng.random() < 0.2:
            ops.append(Delete(id, version))
        else:
            ops.append(upsert(id, version=version, user_id=rng.choice(("ann", "bob", None))))
    return ops


def write_shuffled(url: str, schema: str, seed: int) -> int:
    """One process: open the database (all at once, the first makes the schema), apply the history."""

    async def write() -> int:
        driver = create("replica", {"url": url, "schema": schema})
        await driver.open()
        ops = history()
        random.Random(seed).shuffle(ops)
        batches = 0
        while ops:
            batch = {op.id: op for op in ops[:10]}
            ops = [op for op in ops if batch.get(op.id) is not op]
            await driver.apply(SCOPE, list(batch.values()))
            batches += 1
        await driver.close()
        return batches

    return asyncio.run(write())


async def test_three_processes_make_one_schema_and_write_to_it_at_once(
    postgres_url: str, schema: str
) -> None:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(3, mp_context=SPAWN) as pool:
        work = [
            loop.run_in_executor(pool, write_shuffled, postgres_url, schema, n) for n in range(3)
        ]
        assert min(await asyncio.gather(*work)) >= 60
    model = Model()
    model.apply(history())
    driver = create("replica", {"url": postgres_url, "schema": schema})
    await driver.open()
    await assert_holds(driver, SCOPE, model)
    await driver.close()
    ledger = await execute(
        postgres_url, f"SELECT version FROM {schema}.migrations ORDER BY version"
    )
    assert ledger == [(n,) for n in range(1, len(MIGRATIONS) + 1)]


async def test_eight_drivers_that_open_at_once_make_one_schema(
    postgres_url: str, schema: str
) -> None:
    drivers = [create(f"r{n}", {"url": postgres_url, "schema": schema}) for n in range(8)]
    await asyncio.gather(*(driver.open() for driver in drivers))
    await asyncio.gather(*(driver.ensure(SCOPE) for driver in drivers))
    outcomes = await asyncio.gather(*(driver.apply(SCOPE, [upsert("a")]) for driver in drivers))
    assert {outcome["a"].status for outcome in outcomes} == {"applied"}
    assert await execute(postgres_url, f"SELECT count(*) FROM {schema}.scopes") == [(1,)]
    for driver in drivers:
        await driver.close()


async def test_a_schema_of_a_newer_layout_is_refused(
    postgres_url: str, schema: str, driver: PgvectorDriver
) -> None:
    newer = len(MIGRATIONS) + 1
    await execute(postgres_url, f"INSERT INTO {schema}.migrations (version) VALUES ({newer})")
    with pytest.raises(Permanent, match=rf"newer memrelay \(layout {newer}"):
        await create("replica", {"url": postgres_url, "schema": schema}).open()


async def test_a_schema_that_was_dropped_is_made_again(
    postgres_url: str, schema: str, driver: PgvectorDriver
) -> None:
    await apply_all(driver, SCOPE, upserts(3))
    await execute(postgres_url, f"DROP SCHEMA {schema} CASCADE")
    with pytest.raises(Unavailable) as caught:
        await driver.apply(SCOPE, [upsert("a")])
    assert caught.value.code == "layout"
    await assert_holds(driver, SCOPE, await apply_all(driver, SCOPE, upserts(3)))


async def test_a_scope_that_is_remembered_is_no_other_in_a_schema_that_was_made_again(
    postgres_url: str, schema: str, driver: PgvectorDriver
) -> None:
    await apply_all(driver, SCOPE, upserts(3))
    await execute(postgres_url, f"DROP SCHEMA {schema} CASCADE")
    other = create("other", {"url": postgres_url, "schema": schema})
    await other.open()
    await apply_all(other, OTHER, upserts(5))
    await apply_all(driver, SCOPE, upserts(2))
    assert await other.count(OTHER, None, now=NOW) == 5
    assert await driver.count(SCOPE, None, now=NOW) == 2
    await other.close()


async def test_two_schemas_of_one_database_know_nothing_of_each_other(
    postgres_url: str, driver: PgvectorDriver
) -> None:
    name = f"test_{uuid4().hex}"
    other = create("other", {"url": postgres_url, "schema": name})
    await other.open()
    await apply_all(driver, SCOPE, upserts(3))
    assert await other.count(SCOPE, None, now=NOW) == 0
    await other.close()
    await execute(postgres_url, f"DROP SCHEMA {name} CASCADE")


async def test_a_missing_extension_is_made_by_who_may_and_named_to_who_may_not(
    postgres_server_factory: Callable[[], PostgresServer],
) -> None:
    server = postgres_server_factory()
    await execute(server.superuser_url, "CREATE DATABASE bare OWNER memrelay")
    url, superuser = (
        urlsplit(address)._replace(path="/bare").geturl()
        for address in (server.url, server.superuser_url)
    )
    with pytest.raises(ConfigError, match=r"as a superuser: CREATE EXTENSION vector;") as caught:
        await create("replica", {"url": url}).open()
    assert "\n" not in str(caught.value)
    mended = create("replica", {"url": superuser, "schema": "another"})
    await mended.open()
    await mended.close()
    driver = create("replica", {"url": url})
    await driver.open()
    await apply_all(driver, SCOPE, upserts(3))
    await driver.close()


async def test_a_role_that_may_make_no_schema_is_told_what_to_do(
    postgres_server_factory: Callable[[], PostgresServer],
) -> None:
    server = postgres_server_factory()
    await execute(server.superuser_url, "CREATE ROLE guest LOGIN")
    url = server.url.replace("memrelay@", "guest@")
    with pytest.raises(ConfigError, match=r"CREATE SCHEMA memrelay AUTHORIZATION"):
        await create("replica", {"url": url}).open()
    await execute(server.superuser_url, "CREATE SCHEMA memrelay AUTHORIZATION guest")
    driver = create("replica", {"url": url})
    await driver.open()
    await apply_all(driver, SCOPE, upserts(3))
    await driver.close()


async def test_row_policies_bind_the_owner_of_the_tables_and_no_superuser(
    postgres_server_factory: Callable[[], PostgresServer],
) -> None:
    server = postgres_server_factory()
    driver = create("replica", {"url": server.url})
    await driver.open()
    await apply_all(driver, SCOPE, upserts(3))
    await apply_all(driver, OTHER, upserts(5))
    count = f"SELECT count(*) FROM memrelay.{MEMORIES}"
    assert await execute(server.url, count) == [(0,)]
    assert await execute(server.url, named(SCOPE), count) == [(3,)]
    assert await execute(server.url, named(OTHER), count) == [(5,)]
    assert await execute(server.superuser_url, count) == [(8,)]
    stolen = f"UPDATE memrelay.{MEMORIES} SET scope = {place_of(OTHER).scope}"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await execute(server.url, named(SCOPE), stolen)
    await driver.close()


async def test_a_statement_that_forgets_the_scope_sees_its_own_only(
    postgres_server_factory: Callable[[], PostgresServer],
) -> None:
    url = postgres_server_factory().url
    driver = create("replica", {"url": url})
    await driver.open()
    await apply_all(driver, SCOPE, upserts(3))
    await apply_all(driver, OTHER, upserts(5))
    await driver.close()
    connections = Connections("replica", Settings(url=url))
    for statement in ("SELECT id FROM {}", "DELETE FROM {} RETURNING id"):
        scope = place_of(SCOPE).scope
        [rows] = await connections.run(Sql(statement.format(MEMORIES)), scope=scope)
        assert len(rows) == 3
        [rows] = await connections.run(Sql(f"SELECT id FROM {MEMORIES}"))
        assert rows == []
    await connections.close()


async def test_writers_of_the_same_ids_in_other_orders_never_deadlock(
    postgres_url: str, schema: str, driver: PgvectorDriver
) -> None:
    other = create("other", {"url": postgres_url, "schema": schema})
    await other.open()
    rng = random.Random(7)
    versions = iter(range(1, 10_000))

    async def write(writer: PgvectorDriver) -> list[Op]:
        ops: list[Op] = [upsert(f"m{n}", version=next(versions)) for n in range(200)]
        rng.shuffle(ops)
        await writer.apply(SCOPE, ops)
        return ops

    model = Model()
    writers = [driver, other] * 12
    for ops in await asyncio.gather(*(write(writer) for writer in writers), driver.purge(SCOPE)):
        model.apply(ops or ())
    last = [op for op in model.winners if op.version > 4600]
    assert len(last) == 200
    await driver.apply(SCOPE, last)
    await assert_holds(other, SCOPE, model)
    await other.close()


GUILTY: dict[str, Op] = {
    "NUL in the text": upsert("a", text="x\0y"),
    "NUL in the id": upsert("a\0"),
    "NUL in the user": upsert("a", user_id="x\0"),
    "half a character in the text": upsert("a", text="\ud83d"),
    "half a character in the id": Delete("\udc00", 1),
    "half a character in the session": upsert("a", session_id="\udc00"),
    "half a character in the metadata": upsert("a", metadata={"topic": "\ud83d"}),
    "a delete of what cannot be": Delete("a\0", 1),
    "a time beyond 64 bits": upsert("a", created_at=2**63),
    "a version beyond 64 bits": Delete("a", 2**63),
    "a vector that is not finite": upsert("a", vector=vector_to_bytes([float("nan")] * 16)),
    "an id that no index can hold": upsert("".join(map(chr, range(10_000, 20_000)))),
}


@pytest.mark.parametrize("name", GUILTY)
async def test_what_cannot_be_held_fails_alone(driver: PgvectorDriver, name: str) -> None:
    guilty, others = GUILTY[name], upserts(40)
    outcomes = await driver.apply(SCOPE, [*others[:20], guilty, *others[20:]])
    assert outcomes.keys() == {guilty.id, *(op.id for op in others)}
    assert {outcomes[op.id] for op in others} == {Outcome("applied")}
    assert outcomes[guilty.id].status == "failed"
    assert isinstance(outcomes[guilty.id].error, Permanent)
    assert await driver.get(SCOPE, [guilty.id]) == {}
    assert await driver.records(SCOPE, [guilty.id]) == {}
    assert await driver.count(SCOPE, None, now=NOW) == 40


async def test_texts_with_more_words_than_the_server_takes_are_held_and_found(
    driver: PgvectorDriver,
) -> None:
    long = " ".join(f"{n:x}y" for n in range(400_000))
    model = await apply_all(driver, SCOPE, [upsert("long", text=f"zebra {long}"), upsert("a")])
    await assert_holds(driver, SCOPE, model)
    query = Query(mode="keyword", text="zebra", top_k=5, now=NOW)
    assert [hit.memory.id for hit in await driver.search(SCOPE, query)] == ["long"]


async def test_words_are_found_whatever_their_case_and_accents(driver: PgvectorDriver) -> None:
    texts = {"a": "Le CAFÉ est fermé", "b": "a cafe, open", "c": "src/cafe.py", "d": "caféine"}
    await apply_all(driver, SCOPE, [upsert(id, text=text) for id, text in texts.items()])
    for text in ("café", "Cafe", "CAFE\u0301"):
        hits = await driver.search(SCOPE, Query(mode="keyword", text=text, top_k=5, now=NOW))
        assert {hit.memory.id for hit in hits} == {"a", "b", "c"}


async def test_a_query_vector_of_another_dimension_is_refused(driver: PgvectorDriver) -> None:
    await driver.ensure(SCOPE)
    query = Query(mode="semantic", vector=vector("short", 15), top_k=5, now=NOW)
    with pytest.raises(Permanent) as caught:
        await driver.search(SCOPE, query)
    assert caught.value.code == "dimension"


async def test_a_zero_vector_is_no_nearer_than_any(driver: PgvectorDriver) -> None:
    zero = upsert("zero", vector=vector_to_bytes([0.0] * 16))
    await apply_all(driver, SCOPE, [zero, upsert("b")])
    hits = await driver.search(SCOPE, Query(mode="semantic", vector=vector("q"), top_k=5, now=NOW))
    assert {hit.memory.id: hit.score for hit in hits}["zero"] == 0.0
