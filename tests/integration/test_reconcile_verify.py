"""The read-only proof over real files: what is there, whether it is one, and whether it was promised."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends.reconcile import Plan, peer_of
from backends.reconcile.ledger import Ledger, read_ledger
from backends.reconcile.verify import Census, verify
from backends.sqlite import create
from backends.store import Store
from memrelay.driver import Driver
from memrelay.testing.conformance.harness import digest_of, fresh_scope, scanned
from memrelay.testing.samples import upsert, upserts
from memrelay.types import Delete, Op, Scope
from tests.replicas import peers_of, put, sqlite_replicas

OPS: list[Op] = [*upserts(30), Delete("gone", 99)]


@pytest.fixture
def scope() -> Scope:
    return fresh_scope()


@pytest.fixture
async def drivers(scope: Scope, tmp_path: Path) -> AsyncIterator[list[Driver]]:
    async with sqlite_replicas(scope, tmp_path / "0.db", tmp_path / "1.db") as drivers:
        for driver in drivers:
            await put(driver, scope, *OPS)
        yield drivers


def ledger_of(*ops: Op) -> Ledger:
    lines = [
        json.dumps({"id": op.id, "version": op.version, "digest": digest_of(op), "job": "job_1"})
        for op in ops
    ]
    return read_ledger([f"{line}\n" for line in lines], "default")


async def test_replicas_that_are_one_and_as_promised_are_sound(
    scope: Scope, drivers: list[Driver]
) -> None:
    ledger = ledger_of(*OPS, upsert("gone", version=50))
    proof = await verify(scope, peers_of(*drivers), ledger=ledger)
    assert proof.sound
    for seen in proof.census.values():
        assert (seen.live, seen.tombstones) == (30, 1)
        assert seen.account is not None
        assert (seen.account.accepted, seen.account.visible) == (32, 30)
        assert (seen.account.superseded, seen.account.deleted) == (1, 1)
    assert proof.divergence.compared == 31


async def test_without_a_ledger_replicas_are_only_compared(
    scope: Scope, drivers: list[Driver]
) -> None:
    proof = await verify(scope, peers_of(*drivers))
    assert proof.census == {"r0": Census(30, 1, None), "r1": Census(30, 1, None)}
    assert proof.sound


async def test_a_loss_on_one_replica_is_seen_and_not_mended(
    scope: Scope, drivers: list[Driver]
) -> None:
    late = upsert("late", version=200)
    await put(drivers[0], scope, late)
    ledger = ledger_of(*OPS, late)
    proof = await verify(scope, peers_of(*drivers), plan=Plan(deep=True), ledger=ledger)
    assert not proof.sound
    first, second = (seen.account for seen in proof.census.values())
    assert first is not None and first.sound
    assert second is not None and second.examples["lost"] == ("late",)
    assert proof.divergence.peers["r1"].examples == {"missing": ("late",)}
    assert len(await scanned(drivers[1], scope)) == 31


async def test_what_all_replicas_lost_is_seen_by_the_ledger_alone(
    scope: Scope, drivers: list[Driver]
) -> None:
    proof = await verify(
        scope, peers_of(*drivers), ledger=ledger_of(*OPS, upsert("late", version=9))
    )
    assert proof.divergence.sound
    assert not proof.sound


async def test_dead_letters_of_a_driver_are_no_losses(scope: Scope, drivers: list[Driver]) -> None:
    ledger = ledger_of(*OPS, upsert("poison", version=300))
    dead = {name: frozenset([300]) for name in ("r0", "r1")}
    proof = await verify(scope, peers_of(*drivers), ledger=ledger, dead=dead)
    assert proof.sound
    account = proof.census["r0"].account
    assert account is not None and account.dead == 1


async def test_a_driver_that_is_down_is_named_and_nothing_is_proved(
    scope: Scope, drivers: list[Driver], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    down = Store("down", create("down", {"path": tmp_path / "file" / "x.db"}), timeout=5)
    proof = await verify(scope, [*peers_of(*drivers), peer_of(down)])
    assert set(proof.census) == {"r0", "r1"}
    assert proof.divergence.sound
    assert "cannot make the folder" in proof.unreachable["down"]
    assert not proof.sound
    assert replace(proof, unreachable={}).sound
