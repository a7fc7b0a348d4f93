"""Weaviate killed while it writes: what was applied is there afterwards, the rest once it is redone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection

import pytest

from backends.weaviate import create
from backends.weaviate.driver import WeaviateDriver
from deploy.native.weaviate import WeaviateServer
from memrelay.driver import Query
from memrelay.errors import Transient
from memrelay.testing.conformance.harness import Model, scanned
from memrelay.testing.samples import NOW, SPACE, WORDS, upsert, vector
from memrelay.types import Delete, Op, Scope

WRITERS = 4
SCOPE = Scope(namespace="acme", source="default", space=SPACE)
ALL = 5000


class Campaign:
    """Four writers over 2,000 ids, each with ids of its own, and what must have come of it."""

    def __init__(self, driver: WeaviateDriver, seed: int) -> None:
        self._driver = driver
        self._random = random.Random(seed)
        self._version = 0
        self.applied = Model()
        self.unsure: dict[str, Op] = {}

    async def write_until_the_server_dies(self, writer: int) -> None:
        while True:
            ids = self._random.sample(range(writer * 500, writer * 500 + 500), 100)
            ops = [self._op(f"m{number}") for number in ids]
            self.unsure |= {op.id: op for op in ops}
            try:
                await self.apply(ops)
            except Transient:
                return

    async def apply(self, ops: list[Op]) -> None:
        outcomes = await self._driver.apply(SCOPE, ops)
        for op in ops:
            if outcomes[op.id].status == "applied":
                self.applied.apply([op])
                self.unsure.pop(op.id)

    def _op(self, id: str) -> Op:
        """A quarter are deletes. A memory keeps its vector: Weaviate indexes an unchanged one only once."""
        self._version += 1
        if self._random.random() < 0.25:
            return Delete(id, self._version)
        return upsert(id, version=self._version, vector=vector(id))

    async def check(self, unsure: Collection[str] = ()) -> None:
        """Vectors, words, scan and count all agree with what was applied, but for what is unsure."""
        live = {op.id: op.version for op in self.applied.live() if op.id not in unsure}
        semantic = Query(mode="semantic", vector=vector("any"), top_k=ALL, now=NOW)
        keyword = Query(mode="keyword", text=" ".join(WORDS), top_k=ALL, now=NOW)
        for query in (semantic, keyword):
            hits = await self._driver.search(SCOPE, query)
            found = {hit.memory.id: hit.memory.version for hit in hits}
            assert {id: found[id] for id in found if id not in unsure} == live
        entries = await scanned(self._driver, SCOPE)
        expected = [entry for entry in self.applied.entries() if entry.id not in unsure]
        assert [entry for entry in entries if entry.id not in unsure] == expected
        if not unsure:
            assert await self._driver.count(SCOPE, None, now=NOW) == len(live)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_crash_during_writes_loses_nothing_that_was_applied(
    weaviate_server_factory: Callable[[], WeaviateServer], seed: int
) -> None:
    server = weaviate_server_factory()
    driver = create("wv", {"url": server.url, "grpc_port": server.grpc_port})
    await driver.open()
    await driver.ensure(SCOPE)
    campaign = Campaign(driver, seed)
    for seconds in (1.5, 0.7):
        writers = [
            asyncio.ensure_future(campaign.write_until_the_server_dies(n)) for n in range(WRITERS)
        ]
        await asyncio.sleep(seconds)
        server.kill()
        await asyncio.gather(*writers)
        server.start()
        await _until_served(driver)
        assert campaign.unsure
        await campaign.check(unsure=set(campaign.unsure))
        await campaign.apply(list(campaign.unsure.values())[:512])
        assert not campaign.unsure
        await campaign.check()
    await driver.close()


async def _until_served(driver: WeaviateDriver) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await driver.count(SCOPE, None, now=NOW)
            except Transient:
                await asyncio.sleep(0.05)
            else:
                return
