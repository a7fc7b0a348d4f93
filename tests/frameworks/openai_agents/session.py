"""What ``Session`` promises, and what memrelay adds to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from agents import Session, SessionSettings

from memrelay.client import AsyncMemrelay
from memrelay.compat.openai_agents import MemrelaySession
from memrelay.errors import InvalidRequest, NotFound


def said(*texts: object) -> list[Any]:
    return [{"role": "user", "content": str(text)} for text in texts]


async def texts_of(session: MemrelaySession, limit: int | None = None) -> list[str]:
    return [item["content"] for item in await session.get_items(limit)]


async def test_a_session_gives_its_items_back_in_order(session: MemrelaySession) -> None:
    assert isinstance(session, Session)
    assert await session.get_items() == []
    await session.add_items(said("one", "two"))
    await session.add_items([])
    await session.add_items(said("three"))
    assert await session.get_items() == said("one", "two", "three")


async def test_the_last_items_come_oldest_first(session: MemrelaySession) -> None:
    await session.add_items(said(*range(20)))
    assert await texts_of(session, 3) == ["17", "18", "19"]
    assert await texts_of(session, 100) == [str(n) for n in range(20)]
    assert await texts_of(session, 0) == []


@pytest.mark.parametrize("settings", [SessionSettings(limit=2), {"limit": 2}])
async def test_the_settings_of_a_session_bound_what_it_gives(
    relay: AsyncMemrelay, session: MemrelaySession, source: str, settings: Any
) -> None:
    await session.add_items(said("one", "two", "three"))
    bounded = MemrelaySession(session.session_id, relay, source=source, session_settings=settings)
    assert bounded.session_settings == SessionSettings(limit=2)
    assert await texts_of(bounded) == ["two", "three"]
    assert await texts_of(bounded, 3) == ["one", "two", "three"]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": "\\u0000"}'},
        {
            "role": "user",
            "content": 'NUL \x00, half \ud83d, "quotes" \\ud83d \x7f\u2028 é e\u0301 🙂',
        },
        {"role": "user", "content": "  "},
        {"role": "assistant", "content": [], "n": 2**80, "x": 0.1, "none": None, "yes": True},
        {"z": {"b": 1, "a": [[[[[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]]]]]}, "a": ""},
        {},
    ],
)
async def test_an_item_comes_back_exactly(session: MemrelaySession, item: Any) -> None:
    await session.add_items([item])
    (held,) = await session.get_items()
    assert held == item
    assert str(held) == str(item)  # the order of keys, and 1 is not True
    assert await session.pop_item() == item


async def test_pop_takes_the_newest_item_away(session: MemrelaySession) -> None:
    await session.add_items(said("one", "two"))
    assert await session.pop_item() == said("two")[0]
    assert await session.get_items() == said("one")
    await session.add_items(said("three"))
    assert await session.get_items() == said("one", "three")
    assert await session.pop_item() == said("three")[0]
    assert await session.pop_item() == said("one")[0]
    assert await session.pop_item() is None
    assert await session.get_items() == []


async def test_a_cleared_session_is_empty_and_begins_anew(session: MemrelaySession) -> None:
    await session.add_items(said(*range(5)))
    await session.clear_session()
    assert await session.get_items() == []
    assert await session.pop_item() is None
    await session.add_items(said("anew"))
    assert await session.get_items() == said("anew")


@pytest.mark.parametrize("other", ["{}-2", "", "{}:", "*", "a\nb\x00{}", "{}" * 10, "\ud83d"])
async def test_sessions_do_not_see_each_other(
    relay: AsyncMemrelay, session: MemrelaySession, source: str, other: str
) -> None:
    second = MemrelaySession(other.format(*[session.session_id] * 10), relay, source=source)
    await second.clear_session()
    await session.add_items(said("mine"))
    await second.add_items(said("theirs"))
    assert await session.get_items() == said("mine")
    assert await second.get_items() == said("theirs")
    await second.clear_session()
    assert await session.get_items() == said("mine")


async def test_what_is_added_at_the_same_time_keeps_its_order(
    session: MemrelaySession, source: str
) -> None:
    """By many, each with a client of its own: nothing is lost, and what was added together stays so."""

    async def add(writer: int) -> None:
        async with AsyncMemrelay() as relay:
            mine = MemrelaySession(session.session_id, relay, source=source)
            for turn in range(4):
                await mine.add_items(said(*(f"{writer} {turn} {n}" for n in range(3))))
                assert f"{writer} {turn} 2" in await texts_of(mine)

    await asyncio.gather(*(add(writer) for writer in range(5)))
    texts = await texts_of(session)
    assert len(set(texts)) == len(texts) == 5 * 4 * 3
    for first in range(0, len(texts), 3):
        added = [text.rsplit(" ", 1) for text in texts[first : first + 3]]
        assert [n for _, n in added] == ["0", "1", "2"]
        assert len({together for together, _ in added}) == 1
    for writer in range(5):
        turns = [text.split()[1] for text in texts if text.startswith(f"{writer} ")]
        assert turns == sorted(turns)


async def test_no_item_is_popped_twice(session: MemrelaySession) -> None:
    await session.add_items(said(*range(12)))

    async def pops() -> Sequence[Any]:
        return [await session.pop_item() for _ in range(3)]

    popped = [item for some in await asyncio.gather(*(pops() for _ in range(5))) for item in some]
    assert popped.count(None) == 3
    assert sorted(int(item["content"]) for item in popped if item) == list(range(12))


async def test_a_long_history_comes_back_whole(session: MemrelaySession) -> None:
    await session.add_items(said(*range(1100)))
    assert await texts_of(session) == [str(n) for n in range(1100)]
    assert await texts_of(session, 2) == ["1098", "1099"]


async def test_many_large_items_are_added_in_their_order(session: MemrelaySession) -> None:
    items = said(*('"' * 32_000 + str(n) for n in range(64)))
    await session.add_items(items)
    assert await session.get_items() == items


async def test_an_item_that_is_too_long_is_refused_with_what_comes_with_it(
    session: MemrelaySession,
) -> None:
    with pytest.raises(InvalidRequest, match="65536 bytes"):
        await session.add_items(said("short", "long " * 20_000))
    assert await session.get_items() == []


async def test_a_source_that_is_not_there_is_an_error(relay: AsyncMemrelay) -> None:
    session = MemrelaySession("talk", relay, source="nowhere")
    for call in (session.get_items, session.pop_item, session.clear_session):
        with pytest.raises(NotFound):
            await call()
    with pytest.raises(NotFound):
        await session.add_items(said("one"))
