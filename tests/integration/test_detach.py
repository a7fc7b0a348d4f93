"""A driver that is away beyond its bound: the others go on, and reconcile brings it what it missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.journal.journal import PREFIX
from backends.journal.sync import Pass, attach, detach, missed, save, states
from memrelay.errors import Unavailable
from memrelay.testing.faulty import Fault
from tests.bench import NAMESPACE, Bench
from workers.deliver import deliver, work
from workers.recheck import recheck
from workers.sync import sync

DOWN = Fault(error=Unavailable("it is down"))


@pytest.fixture
def bench(journal_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(journal_url, tmp_path, driver_backlog=5)
    yield bench
    bench.close()


def state(bench: Bench, driver: str) -> str:
    return str(bench.run(states(bench.journal, [driver]))[driver].state)


def make_away(bench: Bench) -> list[int]:
    """The versions of ten memories, of which ``b`` took none."""
    bench.fails("b", *[DOWN] * 99)
    firsts = []
    for number in range(10):
        firsts.append(bench.put(f"m{number}"))
        bench.deliver()
    assert state(bench, "b") == "away"
    for _ in range(3):
        bench.make_due()
        while bench.deliver("store.b"):
            pass
    return firsts


def test_beyond_its_bound_a_driver_is_detached_and_its_share_ends(bench: Bench) -> None:
    firsts = make_away(bench)
    assert bench.due() == []
    job = bench.job(firsts[0])
    assert (job.status, job.counts["b"].needs_sync, job.counts["a"].stored) == ("partial", 1, 1)
    assert bench.run(states(bench.journal, ["b"]))["b"].backlog == 0
    assert bench.run(bench.journal.hidden(NAMESPACE, "default", "b")).detached


def test_it_is_given_new_memories_first_then_what_it_missed_then_it_serves(bench: Bench) -> None:
    firsts = make_away(bench)
    bench.heal("b")
    new = bench.put("new")
    claim = bench.claim()
    assert claim is not None
    assert claim.away == {"b"}
    bench.run(sync(bench.room))
    assert state(bench, "b") == "syncing", "the other has not ended what was accepted before"
    bench.let_leases_run_out()
    bench.work()
    assert bench.held("b", "new")["new"].version == new
    bench.run(sync(bench.room))
    assert state(bench, "b") == ""
    held = bench.held("b", *[f"m{number}" for number in range(10)])
    assert [held[f"m{n}"].version for n in range(10)] == firsts
    assert bench.job(firsts[0]).status == "stored"
    report = bench.run(states(bench.journal, ["b"]))["b"].last.report
    assert report["ns|default"]["peers"]["b"]["missing"] == 10


def test_what_was_claimed_while_it_was_away_is_not_skipped_after_it_is_back(bench: Bench) -> None:
    make_away(bench)
    bench.heal("b")
    new = bench.put("new")
    claim = bench.claim()
    assert claim is not None
    bench.run(sync(bench.room))
    bench.run(work(bench.room, claim))
    bench.work()
    assert bench.held("b", "new")["new"].version == new
    assert bench.job(new).status == "stored"


def test_a_delete_made_while_it_was_away_is_made_in_it_too(bench: Bench) -> None:
    bench.put("old", user_id="ana")
    bench.put("gone")
    bench.work()
    make_away(bench)
    bench.drop("gone")
    bench.deliver()
    bench.drop_where({"user_id": "ana"})
    bench.deliver()
    bench.heal("b")
    bench.run(sync(bench.room))
    bench.work()
    assert bench.held("b", "old", "gone") == {}
    assert bench.held("a", "old", "gone") == {}


def test_what_a_store_took_just_before_it_failed_is_looked_at_again(bench: Bench) -> None:
    """It may have been killed, and not have kept it although it said so."""
    bench.drivers["b"].capabilities = replace(bench.drivers["b"].capabilities, survives_kill=False)
    bench.put("x", "y")
    bench.work()

    async def lose() -> None:
        await bench.drivers["b"].purge(bench.scope)

    bench.run(lose())
    bench.fails("b", DOWN)
    bench.put("z")
    bench.deliver()
    bench.heal("b")
    bench.work()
    assert bench.held("b", "x", "y", "z").keys() == {"z"}
    for member in bench.run(bench.journal.client.zrange(f"{PREFIX}recheck", 0, -1)):
        bench.run(bench.journal.client.zadd(f"{PREFIX}recheck", {member: 0}))
    bench.run(recheck(bench.room))
    assert bench.held("b", "x", "y", "z").keys() == {"x", "y", "z"}
    assert bench.run(bench.journal.client.zcard(f"{PREFIX}recheck")) == 0


def test_the_only_driver_that_has_a_memory_is_never_skipped(bench: Bench) -> None:
    """Both are away: what neither holds stays in the journal."""
    bench.run(detach(bench.journal, "a"))
    bench.run(detach(bench.journal, "b"))
    first = bench.put("x")
    bench.deliver()
    assert bench.due() != []
    assert bench.job(first).status == "processing"
    bench.run(attach(bench.journal, "a", frm="away", to="syncing"))
    bench.work(rounds=3)
    assert bench.held("a", "x").keys() == {"x"}


def test_a_pass_that_an_operator_asks_for_repairs_and_reports_exactly(bench: Bench) -> None:
    ids = [f"m{number}" for number in range(30)]
    bench.put(*ids)
    bench.work()

    async def damage() -> None:
        await bench.drivers["b"].purge(bench.scope)

    bench.run(damage())
    bench.run(save(bench.journal, "b", Pass(full=True, asked_at=0)))
    bench.run(sync(bench.room))
    last = bench.run(states(bench.journal, ["b"]))["b"].last
    assert last.ended_at is not None
    assert last.report["ns|default"]["peers"]["b"]["missing"] == 30
    assert last.report["ns|default"]["peers"]["b"]["repaired"] == 30
    assert last.report["ns|default"]["peers"]["a"]["missing"] == 0
    assert bench.held("b", *ids).keys() == set(ids)


def test_a_pass_that_breaks_off_goes_on_where_it_was(bench: Bench) -> None:
    make_away(bench)
    bench.heal("b")
    bench.fails("a", Fault(error=Unavailable("now this one")), method="scan")
    with pytest.raises(Unavailable):
        bench.run(sync(bench.room))
    assert state(bench, "b") == "syncing"
    assert bench.run(bench.journal.hidden(NAMESPACE, "default", "b")).detached, "it does not serve"
    bench.run(sync(bench.room))
    assert state(bench, "b") == ""
    assert bench.held("b", "m0", "m9").keys() == {"m0", "m9"}


def test_while_nobody_is_there_who_has_everything_a_driver_that_is_back_does_not_serve(
    bench: Bench,
) -> None:
    make_away(bench)
    bench.heal("b")
    bench.run(detach(bench.journal, "a"))
    bench.fails("a", *[DOWN] * 9, method="ping")
    bench.run(sync(bench.room))
    assert (state(bench, "b"), state(bench, "a")) == ("syncing", "away")
    last = bench.run(states(bench.journal, ["b"]))["b"].last
    assert "waits for a" in last.error
    bench.heal("a")
    bench.run(sync(bench.room))
    bench.run(sync(bench.room))
    assert (state(bench, "b"), state(bench, "a")) == ("", "")
    assert len(bench.held("b", *[f"m{number}" for number in range(10)])) == 10


def test_one_that_has_everything_is_enough_to_bring_another_back(
    journal_url: str, tmp_path: Path
) -> None:
    """``a`` stays away; what ``b`` took meanwhile and ``a`` lacks comes to it when it is back."""
    bench = Bench(journal_url, tmp_path, names="abc", driver_backlog=5)
    try:
        make_away(bench)
        bench.heal("b")
        bench.run(detach(bench.journal, "a"))
        bench.fails("a", *[DOWN] * 9, method="ping")
        while_away = bench.put("while both are away")
        bench.deliver()
        bench.run(sync(bench.room))
        assert (state(bench, "b"), state(bench, "a")) == ("", "away")
        assert len(bench.held("b", *[f"m{number}" for number in range(10)])) == 10
        bench.heal("a")
        bench.run(sync(bench.room))
        assert state(bench, "a") == ""
        held = bench.held("a", "while both are away")
        assert held["while both are away"].version == while_away
    finally:
        bench.close()


def test_a_delete_that_was_missed_stays_hidden_although_its_memory_was_written_again(
    bench: Bench,
) -> None:
    """The pass finds no trace of the delete in the others: first the driver has to have the write."""
    old = bench.put("x", user_id="ana")
    bench.work()
    make_away(bench)
    bench.drop("x")
    bench.deliver()
    bench.run(attach(bench.journal, "b", frm="away", to="syncing"))
    until = bench.put("until")
    it = Pass(full=False, asked_at=0, until=until, places={"ns|default": old + 1})
    bench.run(save(bench.journal, "b", it))
    new = bench.put("x", user_id="ana")
    bench.deliver()
    assert bench.held("a", "x")["x"].version == new
    bench.heal("b")
    bench.run(sync(bench.room))
    assert bench.held("b", "x")["x"].version == old
    assert state(bench, "b") == "syncing"
    bench.work()
    assert bench.held("b", "x")["x"].version == new
    bench.run(sync(bench.room))
    assert state(bench, "b") == ""
    assert bench.job(old).status == "stored"


def test_one_on_its_way_back_goes_away_again_far_beyond_its_bound(bench: Bench) -> None:
    """And its pass begins anew, at the first thing that it missed."""
    firsts = make_away(bench)
    bench.run(attach(bench.journal, "b", frm="away", to="syncing"))
    it = Pass(full=False, asked_at=0, until=bench.put("until"), places={"ns|default": None}, cut=1)
    bench.run(save(bench.journal, "b", it))
    for number in range(12):
        bench.put(f"late{number}")
    for _ in range(20):
        bench.make_due()
        while bench.deliver() or bench.deliver("store.b"):
            pass
        if state(bench, "b") == "away":
            break
    assert state(bench, "b") == "away"
    bench.heal("b")
    bench.work()
    bench.run(sync(bench.room))
    assert state(bench, "b") == ""
    ids = [f"m{number}" for number in range(10)] + [f"late{number}" for number in range(12)]
    assert bench.held("b", *ids).keys() == {*ids}
    assert bench.job(firsts[0]).status == "stored"


def test_what_is_skipped_while_its_return_is_noticed_is_brought_to_it_too(bench: Bench) -> None:
    """Its journal says so between the look at it and the moment from which nothing is skipped."""
    firsts = make_away(bench)
    bench.heal("b")
    bench.run(bench.journal.client.hset(f"{PREFIX}skipped:b", "ns|default", firsts[5]))
    ping = bench.drivers["b"].ping

    async def answer_late() -> None:
        await ping()
        await missed(bench.journal, "b", "ns|default", firsts[0])

    bench.drivers["b"].ping = answer_late  # type: ignore[method-assign]
    bench.run(sync(bench.room))
    assert len(bench.held("b", *[f"m{number}" for number in range(10)])) == 10


def test_one_driver_that_cannot_be_brought_back_yet_keeps_no_other_from_it(bench: Bench) -> None:
    make_away(bench)
    bench.heal("b")
    bench.run(save(bench.journal, "a", Pass(full=True, asked_at=0)))
    bench.fails("a", Fault(error=Unavailable("only once")), method="scan")
    with pytest.raises(Unavailable):
        bench.run(sync(bench.room))
    assert state(bench, "b") == ""
    assert len(bench.held("b", *[f"m{number}" for number in range(10)])) == 10


def test_what_a_pass_copies_past_a_delete_by_user_is_deleted_after_it(bench: Bench) -> None:
    """The delete is accepted and carried out while the pass is under way, before it copies."""
    bench.put("x", user_id="ana")
    bench.work()
    make_away(bench)
    bench.heal("b")

    async def lose() -> None:
        await bench.drivers["b"].purge(bench.scope)

    bench.run(lose())
    bench.run(attach(bench.journal, "b", frm="away", to="syncing"))
    until = bench.put("until")
    it = Pass(full=True, asked_at=0, until=until, places={"ns|default": 0})
    bench.run(save(bench.journal, "b", it))
    bench.drop_where({"user_id": "ana"})
    records = bench.drivers["a"].records

    async def deleted_meanwhile(scope: Any, ids: Any) -> Any:
        found = await records(scope, ids)
        bench.drivers["a"].records = records  # type: ignore[method-assign]
        for queue in ("deliver.interactive", "store.b"):
            while await deliver(bench.room, queue):
                pass
        return found

    bench.drivers["a"].records = deleted_meanwhile  # type: ignore[method-assign]
    bench.run(sync(bench.room))
    bench.work()
    assert state(bench, "b") == ""
    assert (bench.held("a", "x"), bench.held("b", "x")) == ({}, {})
