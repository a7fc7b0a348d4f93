"""Replicas for tests of reconcile: drivers of real stores, as API and workers hold them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from backends.reconcile import Peer, peer_of
from backends.sqlite import create
from backends.store import Store
from memrelay.driver import Driver
from memrelay.testing.conformance.harness import BATCH, digest_of, scanned
from memrelay.types import Delete, Entry, Op, Outcome, Scope


@asynccontextmanager
async def sqlite_replicas(scope: Scope, *paths: Path) -> AsyncIterator[list[Driver]]:
    """An opened driver for each file, named ``r0``, ``r1``, …"""
    drivers = [create(f"r{number}", {"path": path}) for number, path in enumerate(paths)]
    try:
        for driver in drivers:
            await driver.open()
            await driver.ensure(scope)
        yield drivers
    finally:
        for driver in drivers:
            await driver.close()


def peers_of(*drivers: Driver) -> list[Peer]:
    return [peer_of(Store(driver.name, driver, timeout=30)) for driver in drivers]


def between(peer: Peer, happens: Callable[[], Awaitable[None]]) -> Peer:
    """A peer that lets something happen before each of its calls."""

    async def call[T](scope: Scope, action: Callable[[Driver], Awaitable[T]]) -> T:
        await happens()
        return await peer.call(scope, action)

    async def write(scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        await happens()
        return await peer.write(scope, ops)

    return Peer(peer.name, call, write)


async def put(driver: Driver, scope: Scope, *ops: Op) -> None:
    """Apply ops, one for each id; none may fail."""
    for start in range(0, len(ops), BATCH):
        outcomes = await driver.apply(scope, ops[start : start + BATCH])
        assert {outcome.status for outcome in outcomes.values()} <= {"applied", "stale"}, outcomes


def entries_of(ops: Sequence[Op]) -> list[Entry]:
    """What a store scans that took all ``ops``: highest version wins, a delete over its own version."""
    newest: dict[str, Op] = {}
    for op in sorted(ops, key=lambda op: (op.version, isinstance(op, Delete))):
        newest[op.id] = op
    entries = [Entry(op.id, op.version, digest_of(op)) for op in newest.values()]
    return sorted(entries, key=lambda entry: (entry.version, entry.id))


async def assert_one(scope: Scope, drivers: Sequence[Driver], ops: Sequence[Op]) -> None:
    """All replicas hold what the highest versions of ``ops`` say, and every record is sound."""
    wanted = entries_of(ops)
    for driver in drivers:
        assert await scanned(driver, scope) == wanted, driver.name
        for start in range(0, len(wanted), BATCH):
            ids = [entry.id for entry in wanted[start : start + BATCH]]
            assert (await driver.records(scope, ids)).keys() == set(ids), driver.name
