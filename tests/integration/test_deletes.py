"""Deletes by id, user and filter, expiry, and what reads are told meanwhile; on a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends import parts
from backends.journal import Hidden
from backends.journal.marks import user_mark
from backends.journal.tombstones import forgotten
from memrelay.errors import Permanent, Unavailable
from memrelay.filters import Compare
from memrelay.testing.faulty import Fault
from memrelay.times import now_us
from memrelay.types import Delete, Op, Upsert
from tests.bench import NAMESPACE, Bench
from workers import apply
from workers.collect import collect
from workers.deliver import work
from workers.expire import expire
from workers.peers import all_places, peers_of
from workers.recheck import mend

RARE = Compare("metadata.kind", "$eq", "rare")
OF_ANA = Compare("user_id", "$eq", "ana")
DOWN = Fault(error=Unavailable("it is down"))


@pytest.fixture
def bench(journal_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(journal_url, tmp_path)
    yield bench
    bench.close()


def hidden(bench: Bench, driver: str, *ids: str) -> Hidden:
    look: Hidden = bench.run(bench.journal.hidden(NAMESPACE, "default", driver, ids))
    return look


def test_a_delete_by_user_takes_what_is_stored_and_what_is_still_waiting(bench: Bench) -> None:
    bench.put("stored", user_id="ana")
    bench.put("another's", user_id="bea")
    bench.work()
    bench.put("waiting", user_id="ana")
    deleted = bench.drop_where({"user_id": "ana"})
    later = bench.put("later", user_id="ana")
    bench.work()
    for driver in "ab":
        held = bench.held(driver, "stored", "another's", "waiting", "later")
        assert held.keys() == {"another's", "later"}
        assert held["later"].version == later
    assert bench.job(deleted).status == "stored"


def test_a_delete_by_filter_goes_through_a_scope_in_parts_and_on_where_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the driver filters by itself: no call of it looks at more than a page, whatever matches; and a
    delete that takes longer than a task may last comes to its end."""
    monkeypatch.setattr(parts, "PAGE", 2)
    monkeypatch.setattr(apply, "DELETING_SECONDS", -1.0)
    bench.drivers["a"].capabilities = replace(bench.drivers["a"].capabilities, filtered_find=False)
    bench.put(*(f"m{n}" for n in range(6)), metadata={"kind": "note"})
    bench.put("m6", "m7", metadata={"kind": "rare"})
    bench.work()
    part = bench.run(parts.one_part(bench.scope, RARE, None, 2, bench.drivers["a"]))
    assert part == parts.Part([], "m1", False)
    few = bench.run(parts.one_part(bench.scope, OF_ANA, None, 2, bench.drivers["a"]))
    assert few == parts.Part([], None, True)
    deleted = bench.drop_where({"metadata.kind": "rare"})
    bench.work()
    assert bench.job(deleted).status == "stored"
    for driver in "ab":
        assert bench.held(driver, "m5", "m6", "m7").keys() == {"m5"}
    assert bench.room.deleted_up_to == {}


def test_a_delete_by_filter_covers_what_comes_late_from_before_it(bench: Bench) -> None:
    bench.put("early", metadata={"kind": "note"})
    claim = bench.claim()
    assert claim is not None
    bench.drop_where({"metadata.kind": "note"})
    bench.deliver()
    bench.run(work(bench.room, claim))
    for driver in "ab":
        assert bench.held(driver, "early") == {}
    bench.work()
    assert bench.due() == []


def test_what_a_delete_covers_is_not_stored_even_for_a_moment(bench: Bench) -> None:
    first = bench.put("early", user_id="ana")
    bench.drop_where({"user_id": "ana"})
    seen: list[Op] = []
    bench.fails("a", Fault(error=Unavailable("never"), guilty=lambda op: seen.append(op) or False))
    bench.work()
    assert [type(op) for op in seen if op.id == "early"] == [Delete]
    assert bench.job(first).status == "stored"


def test_what_is_being_stored_while_a_delete_by_user_is_accepted_is_deleted(bench: Bench) -> None:
    """The delete has come and gone through the stores when the older write gets there."""
    bench.put("early", user_id="ana")
    claim = bench.claim()
    assert claim is not None
    bench.drop_where({"user_id": "ana"})
    bench.work(rounds=1)
    bench.put("unrelated")
    assert claim.scoped == []
    bench.run(work(bench.room, claim))
    assert bench.held("a", "early") == {}
    assert bench.held("b", "early") == {}


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "waiting"])
def test_a_newer_memory_that_a_delete_does_not_select_survives_it(
    bench: Bench, stored: bool
) -> None:
    """Accepted before the delete, and stored after it: what the delete found was the older one."""
    bench.put("x", user_id="ana")
    older = bench.claim()
    assert older is not None
    if stored:
        bench.run(work(bench.room, older))
    newer = bench.put("x", user_id="bea")
    claim = bench.claim()
    assert claim is not None
    bench.drop_where({"user_id": "ana"})
    bench.deliver()
    if not stored:
        bench.run(work(bench.room, older))
    bench.run(work(bench.room, claim))
    for driver in "ab":
        assert bench.held(driver, "x")["x"].version == newer


def test_a_driver_that_was_down_deletes_by_filter_when_it_is_back(bench: Bench) -> None:
    bench.put("x", user_id="ana")
    bench.work()
    bench.fails("b", DOWN, DOWN, method="find")
    bench.drop_where({"user_id": "ana"})
    bench.deliver()
    assert bench.held("a", "x") == {}
    assert bench.held("b", "x").keys() == {"x"}
    assert [line.filter for line in hidden(bench, "b").scoped] == ['{"user_id": "ana"}']
    bench.fails("b", method="find")
    bench.work()
    assert bench.held("b", "x") == {}


def test_reads_are_told_of_a_delete_from_its_acceptance_until_after_it_is_applied(
    bench: Bench,
) -> None:
    bench.put("x", "y")
    bench.work()
    assert hidden(bench, "a", "x", "y") == Hidden(
        behind=0, detached=False, lag=0, scoped=[], entries={}
    )
    deleted = bench.drop("x")
    look = hidden(bench, "a", "x", "y")
    assert (look.lag, look.behind, look.entries) == (1, 1, {"x": (deleted, "d")})
    bench.work()
    look = hidden(bench, "a", "x", "y")
    assert (look.lag, look.behind) == (0, 0)
    assert look.entries == {"x": (deleted, "d")}, "a read may have begun before it was applied"


def test_reads_of_a_driver_that_lags_are_told_who_owns_a_memory_now(bench: Bench) -> None:
    bench.put("x", user_id="ana")
    bench.work()
    bench.fails("b", DOWN)
    moved = bench.put("x", user_id="bea")
    bench.deliver()
    assert hidden(bench, "a", "x").entries == {}
    assert hidden(bench, "b", "x").entries == {"x": (moved, user_mark("bea"))}
    bench.work()
    assert hidden(bench, "b", "x").lag == 0


def test_an_expired_memory_becomes_a_tombstone_at_its_own_version(bench: Bench) -> None:
    first = bench.put("x", expires_at=now_us() - 1)
    bench.put("y", expires_at=now_us() + 3_600_000_000)
    bench.work()
    assert bench.held("a", "x").keys() == {"x"}
    bench.run(expire(bench.room))
    for driver in "ab":
        assert bench.held(driver, "x", "y").keys() == {"y"}
        assert bench.run(records(bench, driver, "x")) == {"x": Delete("x", first)}


async def records(bench: Bench, driver: str, id: str) -> dict[str, object]:
    return dict(await bench.drivers[driver].records(bench.scope, [id]))


def test_tombstones_go_when_nothing_is_left_that_is_older(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    bench.drop("x")
    bench.drop_where({"user_id": "ana"})
    bench.work()
    bench.run(collect(bench.room))
    assert bench.run(records(bench, "a", "x")) != {}, "younger than seven days"
    bench.run(collect(bench.room, keep_us=0))
    assert bench.run(records(bench, "a", "x")) == {}
    assert bench.run(records(bench, "b", "x")) == {}
    assert bench.run(bench.journal.scoped(NAMESPACE, "default")) == []
    assert bench.run(forgotten(bench.journal)) > 0


def test_tombstones_stay_while_an_older_envelope_is_in_flight(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    bench.fails("b", *[DOWN] * 9)
    bench.put("older")
    bench.deliver()
    bench.drop("x")
    bench.drop_where({"user_id": "ana"})
    bench.deliver()
    bench.run(collect(bench.room, keep_us=0))
    assert bench.run(records(bench, "a", "x")) != {}
    assert bench.run(bench.journal.scoped(NAMESPACE, "default")) != []


def test_tombstones_stay_while_an_older_dead_letter_may_be_replayed(bench: Bench) -> None:
    bench.put("x")
    bench.fails("b", Fault(error=Permanent("no"), guilty=lambda op: True))
    bench.deliver()
    bench.drop("x")
    bench.drop_where({"user_id": "ana"})
    bench.work()
    bench.run(collect(bench.room, keep_us=0))
    assert bench.run(records(bench, "a", "x")) != {}
    assert bench.run(bench.journal.scoped(NAMESPACE, "default")) != []


def test_tombstones_stay_while_a_driver_is_detached(bench: Bench) -> None:
    bench.put("x")
    bench.drop("x")
    bench.work()
    bench.run(bench.journal.client.hset("{mrj}:detached", "b", "away"))
    bench.run(collect(bench.room, keep_us=0))
    assert bench.run(records(bench, "a", "x")) != {}


def test_ids_that_two_wrote_at_once_are_brought_to_the_highest_version(bench: Bench) -> None:
    first = bench.put("x", "y")
    bench.work()
    held = bench.run(records(bench, "a", "x"))["x"]
    assert isinstance(held, Upsert)

    async def lower() -> None:
        await bench.drivers["b"].purge(bench.scope)

    bench.run(lower())
    [place] = bench.run(all_places(bench.room))
    assert bench.run(mend(place.scope, peers_of(bench.room, place), ["x", "y"])) == 2
    assert bench.held("b", "x")["x"].version == first
    assert bench.run(mend(place.scope, peers_of(bench.room, place), ["x", "y"])) == 0
