"""Reconcile on real files: what each replica lacks is brought from the others, and counted exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from backends.reconcile import Divergence, Drift, Plan, Progress, reconcile
from memrelay.driver import Driver
from memrelay.errors import Permanent, Transient, Unavailable
from memrelay.testing.conformance.harness import fresh_scope, scanned
from memrelay.testing.faulty import Fault, FaultyDriver, scripted
from memrelay.testing.samples import upsert, upserts
from memrelay.types import Delete, Memory, Op, Outcome, Scope
from tests.replicas import assert_one, between, peers_of, put, sqlite_replicas


@pytest.fixture
def scope() -> Scope:
    return fresh_scope()


@pytest.fixture
async def drivers(scope: Scope, tmp_path: Path) -> AsyncIterator[list[Driver]]:
    """Three replicas; the first is the primary."""
    async with sqlite_replicas(scope, *(tmp_path / f"{n}.db" for n in range(3))) as drivers:
        yield drivers


def numbers(divergence: Divergence) -> dict[str, dict[str, int]]:
    """What is not 0, by peer and kind."""
    return {
        name: {
            kind: number
            for kind in Drift.__dataclass_fields__
            if kind != "examples" and (number := getattr(drift, kind))
        }
        for name, drift in divergence.peers.items()
    }


async def divergence_of(scope: Scope, drivers: list[Driver], plan: Plan) -> Divergence:
    progress = await reconcile(scope, peers_of(*drivers), plan)
    assert progress.finished
    return progress.divergence


async def test_a_replica_that_missed_a_week_gets_all_of_it(
    scope: Scope, drivers: list[Driver]
) -> None:
    memories = upserts(2500)
    await put(drivers[0], scope, *memories)
    progress = await reconcile(scope, peers_of(*drivers[:2]))
    assert progress.finished
    assert progress.divergence.compared == 2500
    assert numbers(progress.divergence) == {"r0": {}, "r1": {"missing": 2500, "repaired": 2500}}
    await assert_one(scope, drivers[:2], memories)


async def test_both_sides_give_what_the_other_lacks(scope: Scope, drivers: list[Driver]) -> None:
    first: list[Op] = [upsert("a", version=1), upsert("b", version=7), Delete("c", 9)]
    second: list[Op] = [upsert("b", version=2), upsert("c", version=3), upsert("d", version=4)]
    await put(drivers[0], scope, *first)
    await put(drivers[1], scope, *second)
    found = await divergence_of(scope, drivers[:2], Plan())
    assert numbers(found) == {
        "r0": {"missing": 1, "repaired": 1},
        "r1": {"missing": 1, "stale": 2, "repaired": 3},
    }
    assert found.peers["r1"].examples == {
        "missing": ("a",),
        "stale": ("b", "c"),
        "repaired": ("a", "b", "c"),
    }
    await assert_one(scope, drivers[:2], first + second)


async def test_a_merged_scope_has_nothing_left_to_do(scope: Scope, drivers: list[Driver]) -> None:
    await put(drivers[0], scope, *upserts(30), Delete("gone", 99))
    await reconcile(scope, peers_of(*drivers))
    again = await divergence_of(scope, drivers, Plan(deep=True))
    assert again.sound
    assert again.settled
    assert (again.compared, numbers(again)) == (31, {"r0": {}, "r1": {}, "r2": {}})


async def test_without_repair_it_is_counted_and_nothing_is_written(
    scope: Scope, drivers: list[Driver]
) -> None:
    await put(drivers[0], scope, upsert("a", version=5), upsert("b", version=2))
    await put(drivers[1], scope, upsert("a", version=1))
    found = await divergence_of(scope, drivers, Plan(repair=False, deep=True))
    assert not found.sound
    assert numbers(found) == {"r0": {}, "r1": {"missing": 1, "stale": 1}, "r2": {"missing": 2}}
    assert await scanned(drivers[2], scope) == []


async def test_a_tombstone_wins_over_the_memory_of_its_own_version(
    scope: Scope, drivers: list[Driver]
) -> None:
    await put(drivers[0], scope, upsert("a", version=5))
    await put(drivers[1], scope, Delete("a", 5))
    found = await divergence_of(scope, drivers[:2], Plan())
    assert numbers(found) == {"r0": {"different": 1, "repaired": 1}, "r1": {}}
    await assert_one(scope, drivers[:2], [Delete("a", 5)])


async def test_of_two_memories_at_one_version_the_primary_has_the_right_one(
    scope: Scope, drivers: list[Driver]
) -> None:
    right = upsert("a", version=5, text="right")
    await put(drivers[0], scope, right)
    await put(drivers[1], scope, upsert("a", version=5, text="wrong"))
    found = await divergence_of(scope, drivers, Plan())
    assert numbers(found) == {
        "r0": {},
        "r1": {"different": 1, "repaired": 1},
        "r2": {"missing": 1, "repaired": 1},
    }
    await assert_one(scope, drivers, [right])


async def test_only_versions_from_since_up_to_until_are_looked_at(
    scope: Scope, drivers: list[Driver]
) -> None:
    memories = upserts(10)
    await put(drivers[0], scope, *memories)
    counted = FaultyDriver(drivers[0])
    peers = peers_of(counted, drivers[1])
    found = (await reconcile(scope, peers, Plan(since=3, until=7, page=1))).divergence
    assert counted.calls["scan"] == 5  # 7 shows that it is the end
    assert found.compared == 4
    assert numbers(found)["r1"] == {"missing": 4, "repaired": 4}
    assert [entry.version for entry in await scanned(drivers[1], scope)] == [3, 4, 5, 6]


async def test_an_id_that_is_written_anew_is_left_to_its_writers(
    scope: Scope, drivers: list[Driver]
) -> None:
    await put(drivers[0], scope, upsert("a", version=50))
    await put(drivers[1], scope, upsert("a", version=5))
    assert (await divergence_of(scope, drivers[:2], Plan(until=50))).sound


async def test_collected_tombstones_are_not_missing(scope: Scope, drivers: list[Driver]) -> None:
    await put(drivers[0], scope, Delete("old", 5), Delete("new", 15), Delete("still", 6))
    await put(drivers[1], scope, upsert("still", version=1))
    found = await divergence_of(scope, drivers[:2], Plan(forgotten=10))
    assert numbers(found)["r1"] == {"missing": 1, "stale": 1, "repaired": 2}
    assert {entry.id for entry in await scanned(drivers[1], scope)} == {"new", "still"}


def older_than(version: int, user: str) -> Plan:
    """A delete of all memories of ``user`` at ``version``."""

    def covered(memory: Memory) -> int | None:
        return version if memory.user_id == user else None

    return Plan(covered=covered)


async def test_what_a_delete_by_user_covers_is_not_copied_but_deleted(
    scope: Scope, drivers: list[Driver]
) -> None:
    gone: list[Op] = [upsert("a", version=5), upsert("b", version=6)]
    stays: list[Op] = [upsert("c", version=11), upsert("d", version=3, user_id="bob")]
    await put(drivers[0], scope, *gone, *stays)
    await put(drivers[1], scope, upsert("a", version=2))
    found = await divergence_of(scope, drivers[:2], older_than(10, "ann"))
    assert numbers(found) == {
        "r0": {"covered": 2, "repaired": 2},
        "r1": {"covered": 1, "missing": 2, "repaired": 3},
    }
    await assert_one(scope, drivers[:2], [*stays, Delete("a", 5), Delete("b", 6)])


async def test_what_a_delete_in_flight_covers_takes_an_older_one_with_it_that_it_does_not_select(
    scope: Scope, drivers: list[Driver]
) -> None:
    """Of a replica that missed the write which the delete selects, nobody else would delete the older."""
    await put(drivers[0], scope, upsert("a", version=5))
    await put(drivers[1], scope, upsert("a", version=2, user_id="bob"))
    await divergence_of(scope, drivers[:2], replace(older_than(10, "ann"), until=10))
    await assert_one(scope, drivers[:2], [Delete("a", 5)])


async def test_a_deep_pass_finds_what_all_hold_although_it_is_covered(
    scope: Scope, drivers: list[Driver]
) -> None:
    for driver in drivers:
        await put(driver, scope, upsert("a", version=5))
    found = await divergence_of(scope, drivers, replace(older_than(10, "ann"), deep=True))
    assert set(map(str, numbers(found).values())) == {"{'covered': 1, 'repaired': 1}"}
    await assert_one(scope, drivers, [Delete("a", 5)])


class Killed(Exception):
    pass


async def test_a_killed_pass_goes_on_where_it_was_and_counts_once(
    scope: Scope, drivers: list[Driver]
) -> None:
    memories = upserts(1000)
    await put(drivers[0], scope, *memories)
    kept: list[Progress] = []

    async def saved(progress: Progress) -> None:
        kept.append(progress)
        if len(kept) == 3:
            raise Killed

    with pytest.raises(Killed):
        await reconcile(scope, peers_of(*drivers[:2]), Plan(saved=saved, page=100))
    resume = kept[-1].resume
    assert resume == 301
    assert len(await scanned(drivers[1], scope)) == 300
    rest = await divergence_of(scope, drivers[:2], Plan(since=resume))
    whole = kept[-1].divergence + rest
    assert whole.compared == 1000
    assert numbers(whole) == {"r0": {}, "r1": {"missing": 1000, "repaired": 1000}}
    await assert_one(scope, drivers[:2], memories)


async def test_slices_add_up_to_the_whole(scope: Scope, drivers: list[Driver]) -> None:
    memories = upserts(500)
    await put(drivers[1], scope, *memories)
    whole, since, slices = Divergence(), 0, 0
    while True:
        plan = Plan(since=since, page=100, more=lambda: False)
        progress = await reconcile(scope, peers_of(*drivers), plan)
        whole, slices = whole + progress.divergence, slices + 1
        if progress.resume is None:
            break
        assert progress.resume > since
        since = progress.resume
    assert slices == 5
    assert whole.compared == 500
    assert numbers(whole)["r0"] == numbers(whole)["r2"] == {"missing": 500, "repaired": 500}
    await assert_one(scope, drivers, memories)


async def test_many_tombstones_of_one_version_are_one_slice(
    scope: Scope, drivers: list[Driver]
) -> None:
    ops = [Delete(f"t{number:04}", 7) for number in range(1100)]
    await put(drivers[0], scope, *ops, upsert("z", version=8))
    plan = Plan(page=100, more=lambda: False)
    progress = await reconcile(scope, peers_of(*drivers[:2]), plan)
    assert (progress.resume, progress.divergence.compared) == (8, 1100)


async def test_what_is_written_meanwhile_stays_and_is_no_divergence(
    scope: Scope, drivers: list[Driver]
) -> None:
    memories = upserts(400)
    await put(drivers[0], scope, *memories)
    written: list[Op] = []
    versions = count(1000)

    async def write() -> None:
        """A new version or a delete of what the merge has reached or not, on both replicas."""
        version = next(versions)
        id = memories[13 * version % 400].id
        op = Delete(id, version) if version % 3 == 0 else upsert(id, version=version)
        written.append(op)
        for driver in drivers[:2]:
            await put(driver, scope, op)

    first, second = peers_of(*drivers[:2])
    peers = [between(first, write), between(second, write)]
    found = (await reconcile(scope, peers, Plan(until=1000, page=20))).divergence
    assert len(written) > 60
    assert found.peers["r0"].total == 0
    assert found.peers["r1"].total == found.peers["r1"].missing < 400
    await assert_one(scope, drivers[:2], [*memories, *written])


async def test_an_id_that_is_written_just_before_the_repair_did_not_differ(
    scope: Scope, drivers: list[Driver]
) -> None:
    await put(drivers[0], scope, upsert("a", version=5), upsert("b", version=6))
    first, second = peers_of(*drivers[:2])
    newer = upsert("a", version=100)

    async def write(scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        await put(drivers[1], scope, newer)
        return await second.write(scope, ops)

    peers = [first, replace(second, write=write)]
    found = (await reconcile(scope, peers, Plan(until=100))).divergence
    assert numbers(found)["r1"] == {"missing": 1, "repaired": 1}
    assert found.peers["r1"].examples["missing"] == ("b",)
    assert (await drivers[1].records(scope, ["a"]))["a"] == newer


async def test_a_peer_that_fails_for_now_ends_the_pass_and_the_next_one_finishes_it(
    scope: Scope, drivers: list[Driver]
) -> None:
    memories = upserts(600)
    await put(drivers[0], scope, *memories)
    fault = Fault(error=Unavailable("down"))
    guilty = Fault(error=Transient("busy"), guilty=lambda op: op.id == "m00250")
    faulty = FaultyDriver(drivers[1], scripted({"apply": [Fault(), fault, Fault(), guilty]}))
    for held in (100, 299):
        with pytest.raises(Transient):
            await reconcile(scope, peers_of(drivers[0], faulty), Plan(page=100))
        assert len(await scanned(drivers[1], scope)) == held
    assert (await reconcile(scope, peers_of(drivers[0], faulty))).finished
    await assert_one(scope, drivers[:2], memories)


async def test_what_a_peer_refuses_for_good_is_unrepaired_and_the_rest_is_done(
    scope: Scope, drivers: list[Driver]
) -> None:
    await put(drivers[0], scope, *upserts(20))
    guilty = Fault(error=Permanent("never"), guilty=lambda op: op.id == "m00003")
    faulty = FaultyDriver(drivers[1], scripted({"apply": [guilty]}))
    found = (await reconcile(scope, peers_of(drivers[0], faulty))).divergence
    assert not found.settled
    assert numbers(found)["r1"] == {"missing": 20, "repaired": 19, "unrepaired": 1}
    assert found.peers["r1"].examples["unrepaired"] == ("m00003",)
