"""What comes between the steps of a write of Weaviate's: other processes, and its own state."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import pytest

from backends.weaviate import create
from backends.weaviate.connection import Connection
from backends.weaviate.driver import WeaviateDriver
from backends.weaviate.objects import SCALE, SCALES, collection_name, object_id, tenant_name
from backends.weaviate.reads import held
from backends.weaviate.settings import Settings
from backends.weaviate.writes import Writer
from memrelay.errors import Transient
from memrelay.testing.samples import SPACE, upsert
from memrelay.types import Delete, Scope, Space
from tests.servers import Weaviate


@pytest.fixture
async def driver(weaviate: Weaviate) -> AsyncIterator[WeaviateDriver]:
    driver = create("wv", {"url": weaviate.url, "grpc_port": weaviate.grpc_port})
    await driver.open()
    yield driver
    await driver.close()


@pytest.fixture
async def scope(driver: WeaviateDriver) -> AsyncIterator[Scope]:
    """A scope in a collection of its own, gone afterwards."""
    space = Space(f"test/{uuid.uuid4().hex}", SPACE.dimensions)
    scope = Scope(namespace="acme", source="default", space=space)
    await driver.ensure(scope)
    yield scope
    await driver._connection.client.collections.delete(collection_name(space))


async def test_a_lower_version_written_by_another_process_meanwhile_is_written_over(
    weaviate: Weaviate, driver: WeaviateDriver, scope: Scope
) -> None:
    rival = upsert("a", version=4, text="older")
    seen: list[int] = []

    async def interfere() -> None:
        """Put the older version in the place of the newer one, as a process that read before would."""
        client = driver._connection.collection(scope)
        await client.data.delete_by_id(object_id(scope, "a"))
        await driver.apply(scope, [rival])
        seen.extend(e.version for e in (await driver.scan(scope)).entries)

    settings = Settings(url=weaviate.url, grpc_port=weaviate.grpc_port)
    connection = _Interrupted("late", settings, after=2, action=interfere)
    await connection.open()
    outcomes = await Writer(connection).apply(scope, [upsert("a", version=5, text="newer")])
    await connection.close()
    assert seen == [4]
    assert outcomes["a"].status == "applied"
    assert (await driver.get(scope, ["a"]))["a"].text == "newer"


async def test_another_writer_that_never_gives_in_makes_the_apply_fail(
    weaviate: Weaviate, driver: WeaviateDriver, scope: Scope
) -> None:
    async def interfere() -> None:
        await driver._connection.collection(scope).data.delete_by_id(object_id(scope, "a"))

    settings = Settings(url=weaviate.url, grpc_port=weaviate.grpc_port)
    connection = _Interrupted("late", settings, after=2, action=interfere, every=2)
    await connection.open()
    outcomes = await Writer(connection).apply(scope, [upsert("a", version=5)])
    await connection.close()
    error = outcomes["a"].error
    assert isinstance(error, Transient)
    assert error.code == "race"


async def test_a_batch_that_was_refused_in_silence_is_written_again(
    weaviate: Weaviate, driver: WeaviateDriver, scope: Scope
) -> None:
    """Weaviate is read-only while the batch comes, which it says of one object; then it is not."""
    ops = [upsert(f"m{n}", version=n) for n in range(1, 6)]
    await driver.apply(scope, ops)

    async def set_status(status: Literal["READY", "READONLY"]) -> None:
        config = driver._connection.client.collections.use(collection_name(scope.space)).config
        await config.update_shards(status, tenant_name(scope))

    await set_status("READONLY")
    refused = await driver.apply(scope, [*ops, Delete("m9", 9)])
    assert {outcome.status for outcome in refused.values()} == {"failed"}
    settings = Settings(url=weaviate.url, grpc_port=weaviate.grpc_port)
    connection = _Interrupted("late", settings, after=3, action=lambda: set_status("READY"))
    await connection.open()
    outcomes = await Writer(connection).apply(scope, ops)
    await connection.close()
    assert [outcomes[op.id].status for op in ops] == ["failed", *["applied"] * 4]
    rows = await held(driver._connection, scope, [object_id(scope, op.id) for op in ops[1:]])
    assert {row[SCALE] for row in rows.values()} == {SCALES[2]}


class _Interrupted(Connection):
    """A connection that lets ``action`` happen after its call number ``after``, and ``every`` so many."""

    def __init__(
        self,
        *args: Any,
        after: int,
        action: Callable[[], Awaitable[None]],
        every: int | None = None,
    ) -> None:
        super().__init__(*args)
        self._left: int | None = after
        self._action = action
        self._every = every

    async def call[T](self, work: Awaitable[T]) -> T:
        result = await super().call(work)
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._left = self._every
                await self._action()
        return result
