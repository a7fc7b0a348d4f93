"""The fault-injecting driver: it is the driver that it wraps, and it fails exactly when it is told to."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from backends.sqlite import create
from memrelay.driver import Driver, Query
from memrelay.errors import Permanent, Transient, Unavailable
from memrelay.testing.conformance import DriverConformance
from memrelay.testing.faulty import NO_FAULT, Fault, FaultyDriver, scripted, seeded
from memrelay.testing.samples import NOW, SPACE, upsert, upserts, vector
from memrelay.types import APPLIED, Scope

SCOPE = Scope(namespace="tests", source="default", space=SPACE)


class TestFaultyWithoutFaults(DriverConformance):
    @pytest.fixture
    async def driver(self, faulty: FaultyDriver) -> Driver:
        return faulty


@pytest.fixture
async def faulty(tmp_path: Path) -> AsyncIterator[FaultyDriver]:
    inner = create("sqlite", {"path": tmp_path / "memories.db"})
    driver = FaultyDriver(inner)
    await driver.open()
    yield driver
    await inner.close()


async def test_a_fault_befalls_one_call_and_the_next_one_works(faulty: FaultyDriver) -> None:
    faulty.schedule = scripted({"apply": [Fault(error=Unavailable("down")), NO_FAULT]})
    with pytest.raises(Unavailable):
        await faulty.apply(SCOPE, [upsert("a")])
    assert await faulty.count(SCOPE, None, now=NOW) == 0
    assert await faulty.apply(SCOPE, [upsert("a")]) == {"a": APPLIED}
    assert faulty.calls["apply"] == 2


CALLS: dict[str, Callable[[Driver], Awaitable[object]]] = {
    "open": lambda driver: driver.open(),
    "close": lambda driver: driver.close(),
    "ping": lambda driver: driver.ping(),
    "ensure": lambda driver: driver.ensure(SCOPE),
    "apply": lambda driver: driver.apply(SCOPE, []),
    "get": lambda driver: driver.get(SCOPE, ["a"]),
    "search": lambda driver: driver.search(
        SCOPE, Query(mode="semantic", vector=vector(1), top_k=1, now=NOW)
    ),
    "scan": lambda driver: driver.scan(SCOPE),
    "records": lambda driver: driver.records(SCOPE, ["a"]),
    "find": lambda driver: driver.find(SCOPE, None),
    "expired": lambda driver: driver.expired(SCOPE, now=NOW),
    "collect": lambda driver: driver.collect(SCOPE, before=1),
    "count": lambda driver: driver.count(SCOPE, None, now=NOW),
    "purge": lambda driver: driver.purge(SCOPE),
}


def test_every_call_of_the_contract_can_fail() -> None:
    contract = {name for name, value in vars(Driver).items() if inspect.iscoroutinefunction(value)}
    assert contract == CALLS.keys()


@pytest.mark.parametrize("method", CALLS)
async def test_a_call_fails_as_scheduled_and_then_works(faulty: FaultyDriver, method: str) -> None:
    faulty.schedule = scripted({method: [Fault(error=Transient("scheduled"))]})
    before = faulty.calls[method]
    with pytest.raises(Transient, match="scheduled"):
        await CALLS[method](faulty)
    await CALLS[method](faulty)
    assert faulty.calls[method] == before + 2


async def test_a_lost_answer_hides_that_the_ops_were_applied(faulty: FaultyDriver) -> None:
    faulty.schedule = scripted({"apply": [Fault(error=Transient("reset"), answer_lost=True)]})
    with pytest.raises(Transient):
        await faulty.apply(SCOPE, [upsert("a")])
    assert set(await faulty.get(SCOPE, ["a"])) == {"a"}


async def test_guilty_ops_fail_and_the_others_are_applied(faulty: FaultyDriver) -> None:
    error = Permanent("refused")
    guilty = Fault(error=error, guilty=lambda op: op.id.endswith("3"))
    faulty.schedule = scripted({"apply": [guilty]})
    outcomes = await faulty.apply(SCOPE, upserts(20))
    failures = {id: outcome.error for id, outcome in outcomes.items() if outcome != APPLIED}
    assert failures == {"m00003": error, "m00013": error}
    assert await faulty.count(SCOPE, None, now=NOW) == 18


async def test_latency_comes_before_the_call(tmp_path: Path) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    slow = {"open": [Fault(latency=3)], "ping": [Fault(latency=2, error=Transient("slow"))]}
    inner = create("sqlite", {"path": tmp_path / "memories.db"})
    driver = FaultyDriver(inner, scripted(slow), sleep=sleep)
    await driver.open()
    with pytest.raises(Transient):
        await driver.ping()
    await driver.close()
    assert waits == [3, 2]


def test_a_seed_fails_the_same_calls_every_time() -> None:
    fault = Fault(error=Transient("sometimes"))

    def drawn(seed: int) -> list[bool]:
        schedule = seeded(seed, 0.3, [fault], ["apply"])
        return [schedule(method) is fault for method in ["apply", "get"] * 200]

    assert drawn(1) == drawn(1) != drawn(2)
    assert not any(drawn(1)[1::2])
    assert 30 <= sum(drawn(1)) <= 90
