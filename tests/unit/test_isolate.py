from __future__ import annotations

from collections.abc import Sequence
from math import log2

import pytest

from memrelay.errors import Permanent, Transient
from workers.isolate import SAME_REFUSALS, isolate


class Store:
    """Takes numbers; refuses a call with one of ``guilty``, or the ``tired_at``-th call for now."""

    def __init__(self, *guilty: int, tired_at: int = 0) -> None:
        self.guilty = set(guilty)
        self.tired_at = tired_at
        self.held: set[int] = set()
        self.calls: list[list[int]] = []

    async def take(self, items: Sequence[int]) -> None:
        self.calls.append(list(items))
        if len(self.calls) == self.tired_at:
            raise Transient("tired")
        if refused := self.guilty & set(items):
            raise Permanent(f"cannot take {min(refused)}")
        self.held |= set(items)


async def found(store: Store, count: int) -> list[int]:
    return sorted(item for item, _ in await isolate(range(count), store.take))


async def test_nothing_is_no_call() -> None:
    store = Store()
    assert await found(store, 0) == []
    assert store.calls == []


async def test_good_items_are_taken_in_one_call() -> None:
    store = Store()
    assert await found(store, 512) == []
    assert len(store.calls) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 512])
async def test_one_guilty_item_is_found_and_all_others_are_taken(count: int) -> None:
    for guilty in {0, count // 2, count - 1}:
        store = Store(guilty)
        assert await found(store, count) == [guilty]
        assert store.held == set(range(count)) - {guilty}
        assert len(store.calls) <= 1 + log2(count) + 2
        assert [guilty] in store.calls


async def test_guilty_item_keeps_the_reason_it_was_refused_for() -> None:
    [(item, error)] = await isolate(range(8), Store(5).take)
    assert (item, str(error)) == (5, "cannot take 5")


@pytest.mark.parametrize("guilty", [(0, 1), (0, 63), (31, 32), (5, 6, 7, 40)])
async def test_several_guilty_items_are_found(guilty: tuple[int, ...]) -> None:
    store = Store(*guilty)
    assert await found(store, 64) == list(guilty)
    assert store.held == set(range(64)) - set(guilty)


async def test_when_everything_is_refused_nothing_is_given_up() -> None:
    store = Store(*range(512))
    with pytest.raises(Transient, match="looks like a setting") as caught:
        await found(store, 512)
    assert caught.value.code == "all_refused"
    assert len([call for call in store.calls if len(call) == 1]) == SAME_REFUSALS + 1


async def test_few_items_that_are_all_guilty_are_all_found() -> None:
    assert await found(Store(*range(SAME_REFUSALS - 1)), SAME_REFUSALS - 1) == list(
        range(SAME_REFUSALS - 1)
    )


@pytest.mark.parametrize("tired_at", [1, 2, 4])
async def test_store_that_fails_for_now_ends_the_search(tired_at: int) -> None:
    store = Store(3, tired_at=tired_at)
    with pytest.raises(Transient, match="tired"):
        await found(store, 64)
    assert len(store.calls) == tired_at


async def test_guilty_items_in_front_do_not_condemn_those_behind_them() -> None:
    store = Store(*range(SAME_REFUSALS + 4))
    assert await found(store, 512) == list(range(SAME_REFUSALS + 4))
