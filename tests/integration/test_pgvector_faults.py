"""The pgvector driver when its server is killed, frozen or short of connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from backends.pgvector import create
from backends.pgvector.conditions import Sql
from backends.pgvector.driver import PgvectorDriver
from deploy.native.postgres import PostgresServer
from memrelay.driver import Query
from memrelay.errors import Transient, Unavailable
from memrelay.testing.conformance.harness import apply_all, assert_holds, semantic
from memrelay.testing.samples import NOW, SPACE, upsert, upserts
from memrelay.types import Delete, Scope

SCOPE = Scope(namespace="tests", source="default", space=SPACE)


@pytest.fixture
def server(postgres_server_factory: Callable[[], PostgresServer]) -> PostgresServer:
    return postgres_server_factory()


@asynccontextmanager
async def opened(server: PostgresServer, *, timeout: float) -> AsyncIterator[PgvectorDriver]:
    driver = create("replica", {"url": server.url, "timeout": timeout, "connections": 2})
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def driver(server: PostgresServer) -> AsyncIterator[PgvectorDriver]:
    async with opened(server, timeout=2) as driver:
        yield driver


@pytest.fixture
async def patient(server: PostgresServer) -> AsyncIterator[PgvectorDriver]:
    """As ``driver``, with a deadline of its own that is far away."""
    async with opened(server, timeout=60) as driver:
        yield driver


async def test_a_server_that_was_killed_is_noticed_at_once_and_found_again(
    server: PostgresServer, driver: PgvectorDriver
) -> None:
    model = await apply_all(driver, SCOPE, [*upserts(100), Delete("gone", 200)])
    await asyncio.gather(*(driver.ping() for _ in range(4)))  # connections that will be dead
    server.kill()
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await driver.count(SCOPE, None, now=NOW)
        assert time.monotonic() - began < 1.5
    server.start()
    await asyncio.gather(*(driver.ping() for _ in range(4)))
    await assert_holds(driver, SCOPE, model)


async def test_what_was_acknowledged_under_load_survives_a_kill(
    server: PostgresServer, driver: PgvectorDriver
) -> None:
    acknowledged: list[str] = []

    async def write(writer: int) -> None:
        for number in range(1000):
            prefix = f"{writer}-{number}-"
            ops = upserts(20, first_version=1 + 20 * number, prefix=prefix)
            await driver.apply(SCOPE, ops)
            acknowledged.extend(op.id for op in ops)

    writers = [asyncio.create_task(write(n)) for n in range(2)]
    while len(acknowledged) < 400:  # noqa: ASYNC110 tasks write
        await asyncio.sleep(0.01)
    server.kill()
    ended = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(error, Transient) for error in ended), ended
    server.start()
    for start in range(0, len(acknowledged), 500):
        ids = acknowledged[start : start + 500]
        assert (await driver.records(SCOPE, ids)).keys() == set(ids)


async def test_commits_wait_for_the_disk_where_the_server_would_not(
    server: PostgresServer, driver: PgvectorDriver
) -> None:
    url = server.superuser_url
    asked = Sql("SELECT current_setting('synchronous_commit')")
    for configured in ("off", "local"):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"ALTER ROLE memrelay SET synchronous_commit = {configured}")
        other = create("other", {"url": server.url})
        await other.open()
        assert other._opened is not None
        [[(found,)]] = await other._opened.connections.run(asked)
        assert found == ("on" if configured == "off" else configured)
        await other.close()


async def test_a_frozen_server_is_given_up_at_the_callers_deadline(
    server: PostgresServer, patient: PgvectorDriver
) -> None:
    await apply_all(patient, SCOPE, upserts(10))
    server.freeze()
    for _ in range(4):  # twice as often as there are connections
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await semantic(patient, SCOPE)
        assert time.monotonic() - began < 30
    server.thaw()
    assert len(await semantic(patient, SCOPE)) == 10


async def test_a_frozen_server_is_given_up_in_the_middle_of_a_large_write(
    server: PostgresServer, patient: PgvectorDriver
) -> None:
    ops = [upsert(f"m{n}", text="a long text " * 5000) for n in range(100)]
    server.freeze()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await patient.apply(SCOPE, ops)
    assert time.monotonic() - began < 30
    server.thaw()
    outcomes = await patient.apply(SCOPE, ops)
    assert {outcome.status for outcome in outcomes.values()} == {"applied"}


async def test_a_frozen_server_is_given_up_at_our_own_deadline(
    server: PostgresServer, driver: PgvectorDriver
) -> None:
    await driver.ensure(SCOPE)
    server.freeze()
    began = time.monotonic()
    results = await asyncio.gather(
        *(driver.apply(SCOPE, [upsert("a", version=n + 1)]) for n in range(4)),
        return_exceptions=True,
    )
    assert 1.5 < time.monotonic() - began < 20
    assert {getattr(error, "code", error) for error in results} == {"timeout"}
    server.thaw()
    await assert_holds(driver, SCOPE, await apply_all(driver, SCOPE, [upsert("a", version=9)]))


async def test_a_write_that_waits_for_a_lock_is_ended_by_the_server(
    server: PostgresServer, driver: PgvectorDriver
) -> None:
    await apply_all(driver, SCOPE, [upsert("a")])
    async with await psycopg.AsyncConnection.connect(server.superuser_url) as other:
        await other.execute(f"SELECT FROM memrelay.memories_{SPACE.slug} FOR UPDATE".encode())
        with pytest.raises(Unavailable) as caught:
            await driver.apply(SCOPE, [upsert("a", version=2)])
        assert caught.value.code == "timeout"
        assert (await driver.apply(SCOPE, [upsert("b")]))["b"].status == "applied"
    assert (await driver.apply(SCOPE, [upsert("a", version=3)]))["a"].status == "applied"


async def test_more_calls_than_connections_wait_for_their_turn(
    server: PostgresServer, driver: PgvectorDriver
) -> None:
    await apply_all(driver, SCOPE, upserts(50))
    query = Query(mode="keyword", text="coffee tea", top_k=5, now=NOW)
    searches = [driver.search(SCOPE, query) for _ in range(40)]
    assert len({len(hits) for hits in await asyncio.gather(*searches)}) == 1
    async with await psycopg.AsyncConnection.connect(server.superuser_url) as connection:
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'memrelay'"
        cursor = await connection.execute(ours)
        assert await cursor.fetchone() == (2,)


async def test_a_server_without_room_for_us_is_unavailable(
    server: PostgresServer, driver: PgvectorDriver
) -> None:
    url = server.superuser_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("ALTER ROLE memrelay CONNECTION LIMIT 1")
    other = create("other", {"url": server.url})
    with pytest.raises(Unavailable, match="too many connections"):
        await other.open()
