"""The pgvector driver as a role that owns nothing, made by the guide's own statements."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backends.pgvector import create
from backends.pgvector.driver import PgvectorDriver
from backends.pgvector.layout import place_of
from deploy.native.postgres import PostgresServer
from memrelay.driver import Query
from memrelay.errors import Unavailable
from memrelay.testing.conformance.harness import apply_all
from memrelay.testing.samples import NOW, SPACE, upsert, upserts, vector
from memrelay.types import Delete, Scope, Space

GUIDE = Path(__file__).parents[2] / "docs/guides/choosing-drivers.md"
SCOPE = Scope(namespace="tests", source="default", space=SPACE)
OTHER = dataclasses.replace(SCOPE, namespace="other")
NEW_SPACE = dataclasses.replace(SCOPE, space=Space("tests/new", SPACE.dimensions))
MEMORIES = f"memrelay.memories_{SPACE.slug}"
WORDS = f"memrelay.words_{SPACE.slug}"
COUNT = f"SELECT count(*) FROM {MEMORIES}"

FORBIDDEN = {
    "a table": "CREATE TABLE memrelay.mine (a int)",
    "a table elsewhere": "CREATE TABLE public.mine (a int)",
    "a schema": "CREATE SCHEMA mine",
    "a role": "CREATE ROLE mine",
    "a trigger": f"CREATE TRIGGER mine AFTER INSERT ON {MEMORIES} "
    "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "an index": f"CREATE INDEX mine ON {MEMORIES} (version)",
    "no table": f"DROP TABLE {MEMORIES}",
    "an empty table": f"TRUNCATE {MEMORIES}",
    "another column": f"ALTER TABLE {MEMORIES} ADD COLUMN mine int",
    "no policies": f"ALTER TABLE {MEMORIES} DISABLE ROW LEVEL SECURITY",
    "no policies for the owner": f"ALTER TABLE {MEMORIES} NO FORCE ROW LEVEL SECURITY",
    "one policy less": f"DROP POLICY own_scope ON {MEMORIES}",
    "a policy of its own": f"CREATE POLICY mine ON {MEMORIES} USING (true)",
    "no policy for itself": "ALTER ROLE memrelay_service BYPASSRLS",
    "the owner": "SET ROLE memrelay",
    "another layout": "UPDATE memrelay.migrations SET version = 99",
    "the roles' passwords": "SELECT rolpassword FROM pg_authid",
    "a file of the server": "SELECT pg_read_file('PG_VERSION')",
    "a program of the server": "COPY (SELECT 1) TO PROGRAM 'true'",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Roles:
    owner_url: str
    service_url: str
    service: PgvectorDriver


@pytest.fixture
async def roles(postgres_server_factory: Callable[[], PostgresServer]) -> AsyncIterator[Roles]:
    """The owner has made the tables of ``SPACE`` and stored three memories in ``SCOPE``."""
    server = postgres_server_factory()
    owner = create("replica", {"url": server.url})
    await owner.open()
    await apply_all(owner, SCOPE, upserts(3))
    await owner.close()
    [statements] = re.findall(r"```sql\n(.+?)```", GUIDE.read_text(), re.DOTALL)
    await execute(server.superuser_url, statements)
    url = server.url.replace("memrelay@", "memrelay_service@")
    service = create("replica", {"url": url})
    await service.open()
    yield Roles(server.url, url, service)
    await service.close()


async def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last one, past the driver."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


def named(scope: Scope) -> str:
    return f"SET memrelay.scope = '{place_of(scope).scope}'"


@pytest.mark.parametrize("scope", [SCOPE, OTHER], ids=["known namespace", "new namespace"])
async def test_a_role_that_owns_nothing_runs_the_driver(roles: Roles, scope: Scope) -> None:
    driver = roles.service
    await apply_all(
        driver, scope, [upsert("a", version=10, text="apples"), upsert("b", version=11)]
    )
    held = await driver.count(scope, None, now=NOW)
    query = Query(mode="semantic", top_k=held, now=NOW, vector=vector("q"))
    assert {"a", "b"} <= {hit.memory.id for hit in await driver.search(scope, query)}
    words = Query(mode="keyword", top_k=9, now=NOW, text="apples")
    assert [hit.memory.id for hit in await driver.search(scope, words)] == ["a"]
    await apply_all(driver, scope, [Delete("a", 12)])
    assert await driver.search(scope, words) == []
    assert await driver.count(scope, None, now=NOW) == held - 1
    assert "a" in {entry.id for entry in (await driver.scan(scope)).entries}
    assert await driver.collect(scope, before=100) == 1
    await driver.purge(scope)
    assert await driver.count(scope, None, now=NOW) == 0


async def test_what_the_service_role_has_no_right_to_is_refused(roles: Roles) -> None:
    for statement in FORBIDDEN.values():
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await execute(roles.service_url, statement)
    assert await execute(roles.owner_url, named(SCOPE), COUNT) == [(3,)]


async def test_row_policies_bind_the_service_role_and_the_owner(roles: Roles) -> None:
    await apply_all(roles.service, OTHER, upserts(5))
    stolen = f"UPDATE {MEMORIES} SET scope = {place_of(OTHER).scope}"
    for url in (roles.service_url, roles.owner_url):
        assert await execute(url, COUNT) == [(0,)]
        assert await execute(url, named(SCOPE), COUNT) == [(3,)]
        assert await execute(url, named(OTHER), COUNT) == [(5,)]
        assert await execute(url, f"DELETE FROM {MEMORIES} RETURNING 1") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await execute(url, named(SCOPE), stolen)


async def test_words_have_no_policy_and_lead_to_no_memory_of_another_scope(roles: Roles) -> None:
    """What who has the login reads past the driver, as docs/security.md says: words in their order, without
    ids and users, and the names of namespaces."""
    await apply_all(roles.service, OTHER, upserts(5))
    for url in (roles.service_url, roles.owner_url):
        counted = f"SELECT count(*) FROM {WORDS}"
        assert await execute(url, named(SCOPE), counted) == [(8,)]
        joined = f"{counted} w JOIN {MEMORIES} m ON m.row = w.row"
        assert await execute(url, joined) == [(0,)]
        assert await execute(url, named(SCOPE), joined) == [(3,)]
        columns = "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND attrelid ="
        assert await execute(url, f"{columns} '{WORDS}'::regclass") == [
            ("row",),
            ("scope",),
            ("words",),
        ]
        names = "SELECT namespace FROM memrelay.scopes ORDER BY 1"
        assert await execute(url, names) == [("other",), ("tests",)]


async def test_tables_of_a_new_space_are_the_owners_to_make(roles: Roles) -> None:
    with pytest.raises(Unavailable, match="permission denied for schema") as caught:
        await roles.service.apply(NEW_SPACE, upserts(1))
    assert caught.value.code == "credentials"
    owner = create("replica", {"url": roles.owner_url})
    await owner.open()
    await owner.ensure(NEW_SPACE)
    await owner.close()
    await apply_all(roles.service, NEW_SPACE, upserts(2))
    assert await roles.service.count(NEW_SPACE, None, now=NOW) == 2


async def test_without_the_right_to_make_an_index_searches_are_exact(
    roles: Roles, caplog: pytest.LogCaptureFixture
) -> None:
    driver = create("replica", {"url": roles.service_url, "exact_rows": 0})
    await driver.open()
    query = Query(mode="semantic", top_k=9, now=NOW, vector=vector("q"))
    assert len(await driver.search(SCOPE, query)) == 3
    async with asyncio.timeout(60):
        while "was not built" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert "credentials" in caplog.text
    assert len(await driver.search(SCOPE, query)) == 3
    await driver.close()
