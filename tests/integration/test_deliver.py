"""What becomes of every memory of a claim, with drivers that fail in every way; on a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.journal import Put
from backends.journal.alarms import alarms, resume
from backends.journal.dead import DeadLetter, Selection, by_cause, dead_letters, delete, replay
from memrelay.errors import Permanent, Transient
from memrelay.testing.faulty import Fault
from memrelay.types import Op
from tests.bench import NAMESPACE, QUEUE, Bench, tried
from workers.batch import KILLS
from workers.deliver import work
from workers.leases import LeaseLost
from workers.outcome import TRIES


@pytest.fixture
def bench(journal_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(journal_url, tmp_path, dead_letter_limit=3)
    yield bench
    bench.close()


def is_(*ids: str) -> Callable[[Op], bool]:
    return lambda op: op.id in ids


def refuses(*ids: str) -> Fault:
    return Fault(error=Permanent("it cannot be stored", code="unwanted"), guilty=is_(*ids))


def fails_for_now(*ids: str) -> Fault:
    return Fault(error=Transient("not now"), guilty=is_(*ids))


def letters(bench: Bench) -> list[DeadLetter]:
    async def read() -> list[DeadLetter]:
        return [letter async for letter in dead_letters(bench.journal, NAMESPACE, Selection())]

    found: list[DeadLetter] = bench.run(read())
    return found


def test_what_is_accepted_is_stored_in_every_driver(bench: Bench) -> None:
    first = bench.put("x", "y")
    bench.deliver()
    assert bench.job(first, 2).status == "stored"
    assert bench.held("a", "x", "y") == bench.held("b", "x", "y")
    assert bench.held("a", "x")["x"].version == first
    assert bench.due() == []


def test_only_the_memories_that_failed_are_tried_again(bench: Bench) -> None:
    first = bench.put("x", "y", "z")
    bench.fails("b", fails_for_now("y"))
    bench.deliver()
    job = bench.job(first, 3)
    assert (job.counts["a"].stored, job.counts["b"].stored) == (3, 2)
    assert bench.held("b", "x", "y", "z").keys() == {"x", "z"}
    tried: list[str] = []

    def watch(op: Op) -> bool:
        tried.append(op.id)
        return False

    bench.fails("b", Fault(error=Transient("never"), guilty=watch))
    bench.work()
    assert tried == ["y"]
    assert bench.job(first, 3).status == "stored"


def test_a_memory_that_fails_for_now_while_others_are_taken_is_given_up(bench: Bench) -> None:
    first = bench.put("x", "y")
    for number in range(TRIES):
        assert letters(bench) == []
        bench.fails("b", *[fails_for_now("y")] * 9)
        bench.work(rounds=1)
        bench.put(f"company{number}")
        bench.deliver()
    assert bench.job(first, 2).status == "partial"
    assert [(letter.id, letter.code) for letter in letters(bench)] == [("y", "retries_exhausted")]


def test_a_memory_that_came_alone_and_fails_for_now_is_given_up_as_well(bench: Bench) -> None:
    first = bench.put("x")
    for number in range(TRIES):
        assert letters(bench) == []
        bench.fails("b", *[fails_for_now("x")] * 9)
        bench.work(rounds=1)
        bench.put(f"company{number}")
        bench.deliver()
    assert bench.job(first).status == "partial"


def test_while_a_driver_takes_nothing_no_try_counts_against_a_memory(bench: Bench) -> None:
    first = bench.put("x", "y")
    for _ in range(2 * TRIES):
        bench.fails("b", fails_for_now("x", "y"))
        bench.work(rounds=1)
    assert letters(bench) == []
    bench.fails("b")
    bench.work()
    assert bench.job(first, 2).status == "stored"


def test_a_refused_memory_is_a_dead_letter_and_its_job_says_so(bench: Bench) -> None:
    first = bench.put("x", "y", user_id="ana")
    bench.fails("b", refuses("y"))
    bench.deliver()
    job = bench.job(first, 2)
    assert job.status == "partial"
    assert [(e.id, e.version, e.driver, e.code) for e in job.errors] == [
        ("y", first + 1, "b", "unwanted")
    ]
    [letter] = letters(bench)
    assert (letter.version, letter.id, letter.stage) == (first + 1, "y", "store")
    assert (letter.drivers, letter.attempts, letter.code) == (["b"], 1, "unwanted")
    assert isinstance(letter.write, Put)
    assert letter.write.user_id == "ana"
    assert bench.run(by_cause(bench.journal, NAMESPACE)) == {"unwanted": 1}


def test_a_replay_stores_it_under_its_own_version_and_the_job_says_stored(bench: Bench) -> None:
    first = bench.put("x", "y")
    bench.fails("b", refuses("y"))
    bench.deliver()
    again = bench.run(replay(bench.journal, NAMESPACE, Selection(code="unwanted"), limit=512))
    assert again.count == 1
    assert letters(bench) == []
    bench.work()
    assert bench.held("b", "y")["y"].version == first + 1
    assert bench.job(first, 2).status == "stored"
    assert bench.job(first, 2).errors == []
    assert bench.job(again.job.first, 1).status == "stored"
    twice = bench.run(replay(bench.journal, NAMESPACE, Selection(), limit=512))
    assert (twice.count, twice.job) == (0, None)


def test_a_replay_does_not_overwrite_what_is_newer(bench: Bench) -> None:
    bench.put("x")
    bench.fails("b", refuses("x"))
    bench.fails("a", refuses("x"))
    bench.deliver()
    newer = bench.put("x", text="a newer text")
    bench.work()
    bench.run(replay(bench.journal, NAMESPACE, Selection(), limit=512))
    bench.work()
    for driver in "ab":
        assert (bench.held(driver, "x")["x"].version) == newer


def test_a_replay_of_many_goes_through_one_job(bench: Bench) -> None:
    bench.room.settings.__dict__["dead_letter_limit"] = 100
    ids = [f"m{number}" for number in range(40)]
    first = bench.put(*ids, "good")
    bench.fails("b", *[refuses(*ids)] * 50)
    bench.deliver()
    assert len(letters(bench)) == 40
    again = bench.run(replay(bench.journal, NAMESPACE, Selection(driver="b"), limit=512))
    bench.fails("b")
    bench.work()
    assert bench.job(again.job.first, 40).counts["b"].stored == 40
    assert bench.job(first, 41).status == "stored"


def test_dead_letters_are_deleted_by_selection(bench: Bench) -> None:
    bench.put("x", "y", "z")
    bench.fails("b", refuses("x", "y"))
    bench.deliver()
    assert bench.run(delete(bench.journal, NAMESPACE, Selection(ids=frozenset("x")), limit=9)) == 1
    assert [letter.id for letter in letters(bench)] == ["y"]
    assert bench.run(delete(bench.journal, "other", Selection(), limit=9)) == 0
    assert bench.run(by_cause(bench.journal, NAMESPACE)) == {"unwanted": 1}


def test_a_driver_that_refuses_most_raises_an_alarm_and_nothing_more_is_given_up(
    bench: Bench,
) -> None:
    for number in range(6):
        bench.put(f"m{number}")
        bench.fails("b", refuses(f"m{number}"))
        bench.deliver()
    assert len(letters(bench)) == 3
    assert list(bench.run(alarms(bench.journal))) == ["b"]
    assert len(bench.due()) == 3
    bench.fails("b")
    bench.work()
    assert bench.due() == []
    assert bench.held("b", "m5").keys() == {"m5"}


def test_an_alarm_ends_when_an_operator_says_so(bench: Bench) -> None:
    for number in range(4):
        bench.put(f"m{number}")
        bench.fails("b", refuses(f"m{number}"))
        bench.deliver()
    assert len(letters(bench)) == 3
    bench.run(resume(bench.journal, ["b"]))
    assert bench.run(alarms(bench.journal)) == {}
    bench.fails("b", refuses("m3"))
    bench.work()
    assert len(letters(bench)) == 4


def test_a_delete_is_made_although_the_write_that_took_its_place_is_refused(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    deleted = bench.drop("x")
    refused = bench.put("x", text="this is refused")
    bench.fails("b", refuses("x"))
    bench.deliver()
    bench.fails("b")
    bench.work()
    assert bench.held("a", "x")["x"].version == refused
    assert bench.held("b", "x") == {}
    assert bench.job(deleted).status == "stored"
    assert bench.job(refused).status == "partial"
    assert [letter.version for letter in letters(bench)] == [refused]


def test_an_older_write_is_stored_when_the_one_that_took_its_place_is_refused(bench: Bench) -> None:
    older = bench.put("x")
    refused = bench.put("x", text="this is refused")
    bench.fails("b", refuses("x"))
    bench.work()
    assert bench.held("b", "x")["x"].version == older
    assert bench.held("a", "x")["x"].version == refused
    assert bench.due() == []


def test_what_ends_its_worker_is_narrowed_down_and_given_up_alone(bench: Bench) -> None:
    first = bench.put(*[f"m{number}" for number in range(8)])
    poison = first + 5
    deaths = 0
    while (claim := bench.claim()) is not None:
        if poison in tried(claim):
            deaths += 1
            assert deaths < 30, "it is never given up"
            bench.let_leases_run_out()
        else:
            bench.run(work(bench.room, claim))
            bench.make_due()
    job = bench.job(first, 8)
    assert (job.counts["a"].stored, job.counts["a"].failed, job.counts["b"].failed) == (7, 1, 1)
    [letter] = letters(bench)
    assert (letter.version, letter.code) == (poison, "killed_worker")
    assert sorted(letter.drivers) == ["a", "b"]
    assert deaths <= 2 * 3 + KILLS, "log2(8) halvings, some of them twice"


def test_a_worker_that_dies_of_something_else_gives_up_nothing(bench: Bench) -> None:
    first = bench.put("x", "y", "z")
    for _ in range(3):
        bench.die()
    bench.work()
    assert bench.job(first, 3).status == "stored"


def test_work_whose_lease_has_run_out_is_broken_off_before_it_writes(bench: Bench) -> None:
    """As in a worker that was frozen: when it wakes up, its time is over."""
    bench.put("x")
    claim = bench.claim()
    assert claim is not None
    applied: list[str] = []

    async def late() -> None:
        frozen_since = bench.room.loop.time() - bench.journal.lease_ms / 1000
        async with bench.room.leases.hold(claim, frozen_since):
            await asyncio.sleep(0)
            applied.append("x")

    with pytest.raises(LeaseLost):
        bench.run(late())
    assert applied == []


def test_a_lease_is_renewed_for_as_long_as_the_work_takes(bench: Bench) -> None:
    bench.put("x")
    claim = bench.run(bench.journal.claim(QUEUE, "token"))

    async def slow() -> None:
        almost = bench.room.loop.time() - bench.journal.lease_ms / 1000 + 3
        async with bench.room.leases.hold(claim, almost):
            await asyncio.sleep(4)

    bench.run(slow())
    bench.sweep()
    assert bench.deliver() == 0, "it is still ours"
