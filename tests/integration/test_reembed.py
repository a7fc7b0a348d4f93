"""A source that is embedded anew: both spaces are written, one is read, and what is left is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.app import open_state
from backends.journal import spaces as journal_spaces
from backends.journal.journal import PREFIX
from backends.journal.members import join, retire
from backends.journal.spaces import NotNow, begin, cancel, know, spaces
from backends.journal.sync import detach
from backends.reembedding import Reembedding
from memrelay.errors import ConfigError, Unavailable
from memrelay.testing.faulty import Fault
from memrelay.testing.model_server import vector_of
from memrelay.types import Delete, Memory, Op, Space, Upsert
from tests.bench import NAMESPACE, Bench
from tests.integration.test_members import state
from workers import reembed as reembedding
from workers.collect import collect
from workers.deliver import work
from workers.expire import expire
from workers.reembed import reembed
from workers.sync import sync

DOWN = Fault(error=Unavailable("it is down"))
NEW = Space("openai/other", 8)
IDS = [f"m{number}" for number in range(10)]


class Other:
    """An embedder in this process, whose vectors follow from the text alone."""

    space = NEW
    max_inputs = 512

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def embed(self, texts: Any) -> list[bytes]:
        if self.error is not None:
            raise self.error
        return [vector_of(text, NEW.dimensions) for text in texts]


@pytest.fixture
def bench(journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(journal_url, tmp_path, driver_backlog=5)
    bench.room.sources._embedders[NEW.model] = Other()
    bench.enter("ab")
    monkeypatch.setattr(reembedding, "GRACE_MS", 0)
    yield bench
    bench.close()


def start(bench: Bench) -> None:
    current = bench.room.sources.by_name["default"].space
    assert bench.run(begin(bench.journal, "default", NEW, current))
    bench.look()


def turn(bench: Bench) -> None:
    bench.look()
    bench.run(reembed(bench.room))
    bench.look()


def known(bench: Bench) -> journal_spaces.Spaces:
    found: journal_spaces.Spaces = bench.run(spaces(bench.journal, ["default"]))["default"]
    return found


def moved(bench: Bench) -> bool:
    return bench.room.sources.by_name["default"].space == NEW


def held(bench: Bench, driver: str, space: Space) -> dict[str, Any]:
    """What a driver has in one space, as ops."""
    scope = replace(bench.scope, space=space)
    store = bench.room.sources.stores[driver]
    inner = store.driver._inner  # type: ignore[attr-defined]

    async def look() -> dict[str, Any]:
        await inner.ensure(scope)
        page = await inner.scan(scope)
        return dict(await inner.records(scope, [entry.id for entry in page.entries]))

    found: dict[str, Any] = bench.run(look())
    return found


def live(bench: Bench, driver: str, space: Space) -> dict[str, Memory]:
    ops = held(bench, driver, space)
    return {id: op.memory for id, op in ops.items() if isinstance(op, Upsert)}


def test_space_is_built_from_the_texts_and_the_source_moves(bench: Bench) -> None:
    first = bench.put(*IDS)
    bench.put("gone")
    bench.drop("gone")
    bench.work()
    old = bench.room.sources.by_name["default"].space
    start(bench)
    assert not moved(bench)
    turn(bench)
    assert moved(bench)
    for driver in "ab":
        ops = held(bench, driver, NEW)
        assert ops.keys() == {*IDS, "gone"}
        for number, id in enumerate(IDS):
            assert ops[id].version == first + number
            assert ops[id].vector == pytest.approx(ops[id].vector)
            assert ops[id].vector == vector_of(f"the text of {id}", 8)
        assert not isinstance(ops["gone"], Upsert)
    turn(bench)
    assert known(bench).old == ""
    for driver in "ab":
        assert held(bench, driver, old) == {}
    bench.put("after")
    bench.work()
    assert live(bench, "a", NEW).keys() == {*IDS, "after"}
    assert live(bench, "a", old) == {}


def test_what_is_written_while_it_is_built_goes_to_both(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    old = bench.room.sources.by_name["default"].space
    start(bench)
    bench.put("new")
    bench.put("m3", text="another text")
    bench.drop("m4")
    bench.work()
    for driver in "ab":
        assert live(bench, driver, NEW).keys() == {"new", "m3"}
        assert live(bench, driver, old).keys() == {*IDS, "new"} - {"m4"}
    turn(bench)
    assert moved(bench)
    for driver in "ab":
        assert live(bench, driver, NEW).keys() == {*IDS, "new"} - {"m4"}
        assert live(bench, driver, NEW)["m3"].text == "another text"


def test_what_was_claimed_before_and_settles_after_is_done_again(bench: Bench) -> None:
    """Its worker knew of one space; the scan of the other may have passed already."""
    bench.put(*IDS)
    bench.work()
    bench.put("late", user_id="ana")
    claim = bench.claim()
    assert claim is not None
    looked = bench.room.sources.look
    start(bench)

    async def blind(journal: Any) -> None:
        pass

    source = bench.room.sources.by_name["default"]
    bench.room.sources.by_name["default"] = replace(
        source, building=None, spaces=journal_spaces.Spaces()
    )
    for store in bench.room.sources.stores.values():
        store.mirrors.clear()
    bench.room.sources.look = blind  # type: ignore[method-assign]
    bench.run(work(bench.room, claim))
    bench.room.sources.look = looked  # type: ignore[method-assign]
    bench.room.sources.by_name["default"] = source
    assert "late" not in live(bench, "a", NEW)
    for store in bench.room.sources.stores.values():
        store.mirrors["default"] = source.building
    bench.work()
    assert "late" in live(bench, "a", NEW)
    assert "late" in live(bench, "b", NEW)


def test_vectors_that_were_kept_for_a_driver_that_is_down_are_of_the_space_it_is_in(
    bench: Bench,
) -> None:
    bench.put("x")
    bench.work()
    bench.fails("b", DOWN)
    bench.put("y")
    bench.deliver()
    start(bench)
    turn(bench)
    assert moved(bench)
    bench.heal("b")
    bench.work()
    assert held(bench, "b", NEW)["y"].vector == vector_of("the text of y", 8)


def test_delete_by_filter_and_expiry_reach_both(bench: Bench) -> None:
    bench.put("ana's", user_id="ana")
    bench.put("over", expires_at=1)
    bench.put("kept")
    bench.work()
    start(bench)
    bench.drop_where({"user_id": "ana"})
    bench.run(expire(bench.room))
    bench.work()
    turn(bench)
    assert moved(bench)
    for driver in "ab":
        assert live(bench, driver, NEW).keys() == {"kept"}
    bench.run(collect(bench.room, keep_us=0))
    assert held(bench, "a", NEW).keys() == {"kept"}


def test_driver_that_is_away_is_waited_for_and_has_it_all_then(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    bench.run(detach(bench.journal, "b"))
    bench.fails("b", *[DOWN] * 99, method="ping")
    start(bench)
    bench.put("new")
    bench.work()
    turn(bench)
    assert not moved(bench)
    bench.heal("b")
    bench.run(sync(bench.room))
    bench.work()
    bench.run(sync(bench.room))
    turn(bench)
    assert moved(bench)
    assert live(bench, "b", NEW).keys() == {*IDS, "new"}


def test_driver_that_was_built_and_missed_something_since_is_brought_it_too(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    start(bench)
    embed = bench.room.sources._embedders[NEW.model]
    bench.fails("b", Fault(error=Unavailable("now")), method="get")
    with pytest.raises(Unavailable):
        turn(bench)
    bench.heal("b")
    bench.run(detach(bench.journal, "a"))
    bench.put("while a was away")
    bench.deliver()
    bench.run(sync(bench.room))
    bench.work()
    bench.run(sync(bench.room))
    turn(bench)
    assert moved(bench)
    assert live(bench, "a", NEW).keys() == {*IDS, "while a was away"}
    assert embed.space == NEW


def test_model_that_fails_holds_the_building_up_and_says_why(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    start(bench)
    other = bench.room.sources._embedders[NEW.model]
    assert isinstance(other, Other)
    other.error = Unavailable("the model is away")
    with pytest.raises(Unavailable):
        turn(bench)
    assert (known(bench).error, moved(bench)) == ("the model is away", False)
    other.error = None
    turn(bench)
    assert moved(bench)


def test_what_is_built_can_be_given_up(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    old = bench.room.sources.by_name["default"].space
    start(bench)
    bench.put("new")
    bench.work()
    assert bench.run(cancel(bench.journal, "default"))
    assert not bench.run(cancel(bench.journal, "default"))
    turn(bench)
    assert not moved(bench)
    for driver in "ab":
        assert held(bench, driver, NEW) == {}
        assert live(bench, driver, old).keys() == {*IDS, "new"}
    start(bench)
    turn(bench)
    assert moved(bench)


def test_what_is_left_is_kept_while_an_api_may_be_reading_it(bench: Bench) -> None:
    bench.put(*IDS)
    bench.work()
    old = bench.room.sources.by_name["default"].space
    bench.run(journal_spaces.know(bench.journal, "api 1", {"default": "0"}))
    start(bench)
    turn(bench)
    turn(bench)
    assert moved(bench)
    assert held(bench, "a", old).keys() == {*IDS}
    with pytest.raises(NotNow):
        bench.run(begin(bench.journal, "default", Space("a third", 4), NEW))
    bench.run(journal_spaces.know(bench.journal, "api 1", {"default": known(bench).epoch}))
    turn(bench)
    assert held(bench, "a", old) == {}


def test_one_space_is_built_at_a_time(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    start(bench)
    current = bench.room.sources.by_name["default"].space
    assert not bench.run(begin(bench.journal, "default", NEW, current)), "it goes on"
    with pytest.raises(NotNow):
        bench.run(begin(bench.journal, "default", Space("a third", 4), current))
    turn(bench)
    with pytest.raises(NotNow):
        bench.run(begin(bench.journal, "default", NEW, current))


def test_read_is_told_that_the_source_has_moved(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    before = bench.run(bench.journal.hidden(NAMESPACE, "default", "a")).space
    start(bench)
    turn(bench)
    after = bench.run(bench.journal.hidden(NAMESPACE, "default", "a")).space
    assert (before, after) == ("", journal_spaces.written(NEW))


GHOST = Memory(id="ghost", text="deleted long ago", created_at=1, version=7)


def leave_behind(bench: Bench, driver: str, op: Op) -> None:
    """Something in the new space, from before it is built."""
    scope = replace(bench.scope, space=NEW)
    store = bench.room.sources.stores[driver]
    bench.run(store.call(scope, lambda ready: ready.apply(scope, [op])))


def asked(bench: Bench, *, empty: bool = False) -> Any:
    """What an operator is told who asks for the new space, which is built meanwhile."""
    it = Reembedding(bench.journal, bench.room.sources, bench.room.sources.by_name["default"])

    async def follow(space: Space) -> None:
        for _ in range(3):
            await bench.room.sources.look(bench.journal)
            await reembed(bench.room)

    it._follow = follow  # type: ignore[method-assign]
    told = bench.run(it.run(NEW.model, empty=empty))
    bench.look()
    return told


@pytest.mark.parametrize("op", [Upsert(GHOST, vector_of("x", 8)), Delete("ghost", 7)])
def test_space_in_which_a_driver_has_something_already_is_not_built(bench: Bench, op: Op) -> None:
    bench.put("x")
    bench.work()
    leave_behind(bench, "b", op)
    with pytest.raises(ConfigError, match=r"^b has memories of default by openai/other.*--empty"):
        asked(bench)
    assert known(bench).building == ""
    assert held(bench, "b", NEW).keys() == {"ghost"}, "it may be somebody else's"


def test_space_that_is_emptied_first_has_only_what_the_source_has(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    for driver in "ab":
        leave_behind(bench, driver, Upsert(GHOST, vector_of("x", 8)))
    assert asked(bench, empty=True)["model"] == NEW.model
    assert moved(bench)
    for driver in "ab":
        assert held(bench, driver, NEW).keys() == {"x"}


def test_source_is_not_emptied_by_asking_for_the_model_that_it_has(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    it = Reembedding(bench.journal, bench.room.sources, bench.room.sources.by_name["default"])
    with pytest.raises(NotNow):
        bench.run(it.run(bench.room.sources.by_name["default"].space.model, empty=True))
    start(bench)
    turn(bench)
    asked(bench, empty=True)
    for driver in "ab":
        assert bench.held(driver, "x").keys() == {"x"}


def test_what_is_left_is_dropped_from_a_retired_driver_as_far_as_it_answers(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put("x")
    bench.work()
    old = bench.room.sources.by_name["default"].space
    bench.run(retire(bench.journal, "default", "b"))
    start(bench)
    turn(bench)
    bench.fails("b", DOWN, method="purge")
    turn(bench)
    assert known(bench).old == "", "one that does not answer holds nothing up"
    assert "driver b, which is retired, keeps what it has" in caplog.text
    bench.heal("b")
    bench.run(begin(bench.journal, "default", old, NEW))
    for _ in range(3):
        turn(bench)
    bench.put("y")
    start(bench)
    turn(bench)
    turn(bench)
    assert known(bench).old == ""
    assert held(bench, "b", old) == {}


def test_driver_that_joins_while_a_space_is_built_must_have_nothing_there(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    bench.run(bench.journal.client.hdel(f"{PREFIX}members:default", "b"))
    bench.look()
    scope = bench.scope
    store = bench.room.sources.stores["b"]
    bench.run(store.call(scope, lambda ready: ready.purge(scope)))
    leave_behind(bench, "b", Upsert(GHOST, vector_of("x", 8)))
    start(bench)
    bench.run(join(bench.journal, "default", "b"))
    bench.look()
    bench.run(sync(bench.room))
    bench.look()
    assert state(bench, "b") == "away"
    bench.run(join(bench.journal, "default", "b", empty=True))
    for _ in range(4):
        bench.run(sync(bench.room))
        bench.work()
        bench.look()
    assert state(bench, "b") == "whole"
    turn(bench)
    assert moved(bench)
    assert held(bench, "b", NEW).keys() == {"x"}


def test_api_that_lacks_the_source_does_not_keep_what_is_left(bench: Bench) -> None:
    bench.put("x")
    bench.work()
    bench.run(know(bench.journal, "of other sources", {"another": "0"}))
    bench.run(know(bench.journal, "behind", {"default": "1"}))
    start(bench)
    turn(bench)
    turn(bench)
    assert known(bench).old != "", "an API may be reading it"
    bench.run(know(bench.journal, "behind", {"default": known(bench).epoch}))
    turn(bench)
    assert known(bench).old == ""


def test_api_reads_and_starts_while_the_model_of_a_space_that_is_built_cannot_be_had(
    bench: Bench,
) -> None:
    bench.put("x")
    bench.work()
    current = bench.room.sources.by_name["default"].space

    async def agrees(api: Any) -> bool:
        """On where the source is, so that what it reads is answered."""
        await api.sources.look(bench.journal)
        hidden = await bench.journal.hidden(NAMESPACE, "default", "a")
        source = api.source("default")
        return bool(source.spaces.active == hidden.space and source.space == current)

    async def go() -> None:
        async with open_state(bench.room.settings) as api:
            await begin(bench.journal, "default", NEW, current)
            assert await agrees(api)
        async with open_state(bench.room.settings) as api:
            assert await agrees(api)

    bench.run(go())
