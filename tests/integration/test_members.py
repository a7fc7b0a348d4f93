"""Members: a driver that is new to a source is filled before it serves; one that was retired is out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.journal.accounts import accounts
from backends.journal.dead import Selection, replay
from backends.journal.journal import PREFIX
from backends.journal.members import LastWhole, NotAMember, join, members, retire
from backends.journal.sync import detach, release, states
from memrelay.errors import Permanent, Unavailable
from memrelay.testing.faulty import Fault
from memrelay.types import Memory, Upsert
from tests.bench import NAMESPACE, Bench
from workers.collect import collect
from workers.retired import end_retired
from workers.sync import sync

DOWN = Fault(error=Unavailable("it is down"))
IDS = [f"m{number}" for number in range(10)]


@pytest.fixture
def bench(journal_url: str, tmp_path: Path) -> Iterator[Bench]:
    """``b`` is configured, but not known to be a member yet."""
    bench = Bench(journal_url, tmp_path, driver_backlog=5)
    bench.enter("a")
    yield bench
    bench.close()


def state(bench: Bench, driver: str) -> str:
    known = bench.run(members(bench.journal, ["default"]))["default"]
    return str(known.states.get(driver, "no member"))


def serves(bench: Bench, driver: str) -> bool:
    return not bench.run(bench.journal.hidden(NAMESPACE, "default", driver)).detached


def error(bench: Bench) -> str:
    return str(bench.run(states(bench.journal, ["default|b"]))["default|b"].last.error)


def bring_in(bench: Bench) -> None:
    """``b`` joins, is filled, and serves."""
    bench.enter("ab")
    bench.run(sync(bench.room))
    bench.work()
    bench.look()
    bench.run(sync(bench.room))
    bench.look()
    assert state(bench, "b") == "whole"


def test_source_that_nothing_is_known_of_takes_all_its_drivers_as_whole(
    journal_url: str, tmp_path: Path
) -> None:
    """As an installation of a release that remembered no members: it changes nothing."""
    bench = Bench(journal_url, tmp_path)
    try:
        bench.put(*IDS)
        bench.work()
        bench.enter("ab")
        assert (state(bench, "a"), state(bench, "b")) == ("whole", "whole")
        assert serves(bench, "b")
        bench.run(sync(bench.room))
        assert bench.run(states(bench.journal, ["default|b"]))["default|b"].last is None
    finally:
        bench.close()


def test_driver_that_is_new_to_an_empty_source_serves_at_once(bench: Bench) -> None:
    bench.enter("ab")
    assert state(bench, "b") == "whole"
    assert serves(bench, "b")


def test_driver_that_is_new_to_a_source_is_filled_before_it_serves(bench: Bench) -> None:
    firsts = [bench.put(id) for id in IDS]
    bench.work()
    assert bench.held("b", *IDS) == {}
    bench.enter("ab")
    assert (state(bench, "b"), serves(bench, "b"), serves(bench, "a")) == ("away", False, True)
    meanwhile = bench.put("meanwhile")
    bench.deliver()
    new = bench.put("new")
    bench.run(sync(bench.room))
    assert (state(bench, "b"), serves(bench, "b")) == ("syncing", False)
    bench.work()
    bench.run(sync(bench.room))
    assert (state(bench, "b"), serves(bench, "b")) == ("whole", True)
    held = bench.held("b", *IDS, "meanwhile", "new")
    assert [held[id].version for id in (*IDS, "meanwhile", "new")] == [*firsts, meanwhile, new]
    assert bench.job(meanwhile).status == "stored"
    assert [*bench.job(firsts[0]).counts] == ["a"]


def test_driver_that_is_filled_for_one_source_goes_on_serving_others(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    bench.enter("ab")
    assert not serves(bench, "b")
    assert not bench.run(bench.journal.hidden(NAMESPACE, "another", "b")).detached


def test_what_an_api_with_old_settings_takes_in_is_for_the_new_driver_too(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    bring_in(bench)
    bench.configured = ["a"]
    first = bench.put("from an old API")
    bench.work()
    assert bench.held("b", "from an old API").keys() == {"from an old API"}
    assert [*bench.job(first).counts] == ["a", "b"]


def test_what_an_api_takes_in_whose_driver_nobody_let_in_is_for_the_members_alone(
    bench: Bench,
) -> None:
    """As of one that outlived a journal which lost its tail."""
    first = bench.put("x")
    bench.work()
    assert [*bench.job(first).counts] == ["a"]
    assert not serves(bench, "b")


def test_new_driver_waits_until_it_answers(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    bench.fails("b", *[DOWN] * 99, method="ping")
    bench.enter("ab")
    bench.run(sync(bench.room))
    assert (state(bench, "b"), serves(bench, "b")) == ("away", False)
    bench.heal("b")
    bring_in(bench)
    assert bench.held("b", *IDS).keys() == {*IDS}


def test_delete_while_a_driver_is_filled_is_made_in_it_too(bench: Bench) -> None:
    bench.put("old", user_id="ana")
    bench.put("gone", "kept")
    bench.work()
    bench.enter("ab")
    bench.drop("gone")
    bench.drop_where({"user_id": "ana"})
    bench.deliver()
    bring_in(bench)
    assert bench.held("b", "old", "gone", "kept").keys() == {"kept"}
    assert bench.held("a", "old", "gone", "kept").keys() == {"kept"}


def test_what_a_new_driver_has_from_elsewhere_is_neither_merged_nor_removed_unasked(
    bench: Bench,
) -> None:
    bench.put("x")
    bench.work()
    stranger = Memory(id="stranger", text="from elsewhere", created_at=1, version=7)
    vector = next(iter(bench.run(vectors(bench, "x"))))

    async def fill() -> None:
        await bench.room.sources.stores["b"].call(
            bench.scope, lambda driver: driver.apply(bench.scope, [Upsert(stranger, vector)])
        )

    bench.run(fill())
    bench.enter("ab")
    bench.run(sync(bench.room))
    assert state(bench, "b") == "away"
    assert "memrelay join b --source default --empty" in error(bench)
    assert bench.held("b", "stranger").keys() == {"stranger"}
    bench.run(join(bench.journal, "default", "b", empty=True))
    bring_in(bench)
    assert bench.held("b", "x", "stranger").keys() == {"x"}
    assert bench.held("a", "x", "stranger").keys() == {"x"}


async def vectors(bench: Bench, *ids: str) -> list[bytes]:
    store = bench.room.sources.stores["a"]
    ops = await store.call(bench.scope, lambda driver: driver.records(bench.scope, ids))
    return [op.vector for op in ops.values() if isinstance(op, Upsert)]


def test_filling_that_breaks_off_goes_on(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    bench.enter("ab")
    bench.fails("a", Fault(error=Unavailable("now this one")), method="scan")
    with pytest.raises(Unavailable):
        bench.run(sync(bench.room))
    assert (state(bench, "b"), serves(bench, "b")) == ("syncing", False)
    bring_in(bench)
    assert bench.held("b", *IDS).keys() == {*IDS}


def test_filling_that_broke_off_when_the_driver_was_just_attached_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was given since is no reason to believe that it has memories from elsewhere."""
    bench.put(*IDS)
    bench.work()
    bench.enter("ab")

    async def breaks_off(_: object) -> int:
        raise Unavailable("the worker ended here")

    with monkeypatch.context() as broken:
        broken.setattr("workers.sync.last_version", breaks_off)
        with pytest.raises(Unavailable):
            bench.run(sync(bench.room))
    assert state(bench, "b") == "syncing"
    bench.put("meanwhile")
    bench.work()
    assert bench.held("b", "meanwhile").keys() == {"meanwhile"}
    bring_in(bench)
    assert bench.held("b", *IDS, "meanwhile").keys() == {*IDS, "meanwhile"}


def test_tombstones_are_kept_while_a_driver_is_filled(bench: Bench) -> None:
    bench.put("x", "y")
    bench.drop("x")
    bench.work()
    bench.enter("ab")
    bench.run(collect(bench.room, keep_us=0))
    assert tombstones(bench, "a") == {"x"}
    bring_in(bench)
    bench.run(collect(bench.room, keep_us=0))
    assert tombstones(bench, "a") == set()


def tombstones(bench: Bench, driver: str) -> set[str]:
    store = bench.room.sources.stores[driver]
    page = bench.run(store.call(bench.scope, lambda ready: ready.scan(bench.scope)))
    return {entry.id for entry in page.entries if entry.digest is None}


# Retired


def test_retired_driver_is_not_read_nor_written_though_it_answers(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    bring_in(bench)
    assert bench.run(retire(bench.journal, "default", "a", successor="b"))
    bench.look()
    assert (state(bench, "a"), serves(bench, "a"), serves(bench, "b")) == ("retired", False, True)
    assert [store.name for store in bench.room.sources.by_name["default"].stores] == ["b"]
    first = bench.put("new")
    bench.work()
    assert (bench.held("a", "new"), [*bench.job(first).counts]) == ({}, ["b"])
    bench.run(sync(bench.room))
    assert state(bench, "a") == "retired"
    bench.enter("ab")
    assert state(bench, "a") == "retired", "a process that still has it does not bring it back"


def test_successor_is_read_first_whatever_the_settings_say(
    journal_url: str, tmp_path: Path
) -> None:
    bench = Bench(journal_url, tmp_path, names="abc")
    try:
        bench.enter("abc")
        bench.run(retire(bench.journal, "default", "a", successor="c"))
        bench.look()
        assert [s.name for s in bench.room.sources.by_name["default"].stores] == ["c", "b"]
        assert bench.job(bench.put("x")).primary == "c"
        bench.enter("cb")
        bench.enter("bc")
        bench.look()
        assert bench.run(members(bench.journal, ["default"]))["default"].first == ""
    finally:
        bench.close()


def test_the_only_driver_that_has_everything_cannot_be_retired(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    bench.enter("ab")
    with pytest.raises(LastWhole):
        bench.run(retire(bench.journal, "default", "a"))
    bring_in(bench)
    bench.run(detach(bench.journal, "b"))
    with pytest.raises(LastWhole):
        bench.run(retire(bench.journal, "default", "a"))
    assert serves(bench, "a")
    with pytest.raises(NotAMember):
        bench.run(retire(bench.journal, "default", "nobody"))


def test_what_is_open_for_a_retired_driver_ends_when_another_has_it(bench: Bench) -> None:
    bench.put("old", user_id="ana")
    bench.work()
    bring_in(bench)
    bench.fails("a", *[DOWN] * 99)
    bench.fails("b", DOWN)
    first = bench.put("x")
    bench.deliver()
    bench.drop_where({"user_id": "ana"})
    bench.deliver()
    bench.run(retire(bench.journal, "default", "a"))
    bench.make_due()
    bench.deliver("store.a")
    assert f"{first}/store.a" in bench.due(), "b has not got it yet"
    bench.heal("b")
    bench.work()
    assert bench.due() == []
    assert bench.held("b", "x", "old").keys() == {"x"}
    assert bench.run(bench.journal.client.hget(f"{PREFIX}backlog", "a")) == b"0"


def test_what_another_gave_up_is_open_for_no_retired_driver(bench: Bench) -> None:
    """The dead letter keeps it. Replayed, it comes to those that are there."""
    bring_in(bench)
    refused = Fault(error=Permanent("it is refused"), guilty=lambda op: op.id == "x")
    bench.fails("a", *[DOWN] * 99)
    bench.fails("b", *[refused] * 9)
    first = bench.put("x", "y")
    bench.deliver()
    bench.run(retire(bench.journal, "default", "a"))
    bench.make_due()
    bench.deliver("store.a")
    assert bench.due() == []
    assert bench.held("b", "x", "y").keys() == {"y"}
    bench.heal("b")
    bench.run(replay(bench.journal, NAMESPACE, Selection(driver="b"), limit=9))
    bench.work()
    assert (bench.due(), bench.held("b", "x")["x"].version) == ([], first)


def test_dead_letter_is_replayed_to_who_became_a_member_since(bench: Bench) -> None:
    """Where it died in all that there were then; the account of each still balances."""
    refused = Fault(error=Permanent("it is refused"), guilty=lambda op: op.id == "x")
    bench.fails("a", *[refused] * 9)
    first = bench.put("x", "y")
    bench.deliver()
    bench.heal("a")
    bring_in(bench)
    bench.run(replay(bench.journal, NAMESPACE, Selection(), limit=9))
    bench.work()
    for driver in "ab":
        assert bench.held(driver, "x")["x"].version == first
        account = bench.run(accounts(bench.journal, NAMESPACE, "default", "ab"))[driver]
        assert (account.balanced, account.failed) == (True, 0)
    assert bench.job(first, 2).status == "stored"


def test_dead_letter_of_a_retired_driver_ends_when_it_is_replayed(bench: Bench) -> None:
    bring_in(bench)
    refused = Fault(error=Permanent("it is refused"), guilty=lambda op: op.id == "x")
    bench.fails("a", *[refused] * 9)
    first = bench.put("x", "y")
    bench.deliver()
    bench.run(retire(bench.journal, "default", "a"))
    bench.run(replay(bench.journal, NAMESPACE, Selection(), limit=9))
    bench.work()
    assert (bench.due(), bench.held("b", "x")["x"].version) == ([], first)
    account = bench.run(accounts(bench.journal, NAMESPACE, "default", "b"))["b"]
    assert (account.balanced, account.failed) == (True, 0)


def test_retired_driver_is_no_reason_to_skip_another(bench: Bench) -> None:
    """What only the retired one has is not thrown away with it."""
    bring_in(bench)
    bench.fails("b", *[DOWN] * 99)
    first = bench.put("x")
    bench.deliver()
    assert bench.held("a", "x").keys() == {"x"}
    bench.run(retire(bench.journal, "default", "a"))
    bench.run(detach(bench.journal, "b"))
    bench.make_due()
    bench.deliver("store.b")
    assert f"{first}/store.b" in bench.due()
    bench.heal("b")
    bench.run(sync(bench.room))
    bench.work()
    assert bench.held("b", "x").keys() == {"x"}


def test_what_is_open_for_retired_drivers_alone_ends(journal_url: str, tmp_path: Path) -> None:
    """Whoever has everything was filled by one of them."""
    bench = Bench(journal_url, tmp_path, driver_backlog=5, names="abc")
    try:
        bench.enter("ab")
        bench.put("before")
        bench.work()
        bench.fails("b", *[DOWN] * 99)
        first = bench.put("x")
        bench.deliver()
        bench.run(retire(bench.journal, "default", "b"))
        bench.run(join(bench.journal, "default", "c"))
        for _ in range(6):
            bench.look()
            bench.run(sync(bench.room))
        assert state(bench, "c") == "whole"
        bench.run(retire(bench.journal, "default", "a", successor="c"))
        bench.look()
        assert f"{first}/store.b" in bench.due()
        bench.heal("b")
        bench.work()
        assert bench.due() == []
        assert bench.held("c", "before", "x").keys() == {"before", "x"}
    finally:
        bench.close()


def test_retired_driver_may_be_taken_out_of_the_settings(bench: Bench) -> None:
    bring_in(bench)
    bench.fails("a", *[DOWN] * 99)
    bench.put("x")
    bench.deliver()
    bench.run(retire(bench.journal, "default", "a"))
    del bench.room.sources.stores["a"]
    for _ in range(3):
        bench.make_due()
        bench.run(end_retired(bench.room))
    assert bench.due() == []
    bench.configured = ["b"]
    first = bench.put("y")
    bench.deliver()
    assert bench.job(first).status == "stored"


def test_driver_that_was_retired_comes_back_without_what_was_deleted_since(bench: Bench) -> None:
    bench.put("gone", "kept")
    bench.work()
    bring_in(bench)
    bench.run(retire(bench.journal, "default", "a", successor="b"))
    bench.look()
    bench.drop("gone")
    new = bench.put("new")
    bench.work()
    bench.run(collect(bench.room, keep_us=0))
    assert tombstones(bench, "b") == set()
    assert bench.held("a", "gone", "kept").keys() == {"gone", "kept"}
    assert bench.run(join(bench.journal, "default", "a"))
    bench.look()
    assert (state(bench, "a"), serves(bench, "a")) == ("away", False)
    bench.run(sync(bench.room))
    bench.work()
    bench.run(sync(bench.room))
    assert (state(bench, "a"), serves(bench, "a")) == ("whole", True)
    for driver in "ab":
        held = bench.held(driver, "gone", "kept", "new")
        assert (held.keys(), held["new"].version) == ({"kept", "new"}, new)


def test_driver_that_an_operator_took_out_stays_out_until_it_is_released(bench: Bench) -> None:
    bring_in(bench)
    bench.run(detach(bench.journal, "b", held=True))
    bench.run(sync(bench.room))
    assert bench.run(states(bench.journal, ["b"]))["b"].state == "away"
    bench.run(release(bench.journal, "b"))
    bench.run(sync(bench.room))
    assert bench.run(states(bench.journal, ["b"]))["b"].state == ""
