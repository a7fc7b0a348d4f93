"""Feeds: made once for all who look, sent when they change, ended when the service ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api import feeds as module
from api.feeds import END, Feeds, Full, News


class Counter:
    """A source that says how often it was asked, up to ``most``."""

    def __init__(self, most: int = 10**9) -> None:
        self.asked = 0
        self._most = most

    async def __call__(self) -> News:
        self.asked += 1
        return News(f"line {min(self.asked, self._most)}\nmore")


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    feeds = Feeds()
    yield feeds
    feeds.close()


async def test_news_is_sent_line_by_line(feeds: Feeds) -> None:
    events = feeds.follow("key", Counter(), every=0.01)
    assert await anext(events) == "data: line 1\ndata: more\n\n"
    assert await anext(events) == "data: line 2\ndata: more\n\n"
    await events.aclose()


async def test_many_who_look_at_the_same_have_it_made_once(feeds: Feeds) -> None:
    source = Counter(most=1)
    streams = [feeds.follow("key", source, every=60) for _ in range(50)]
    assert {await anext(stream) for stream in streams} == {"data: line 1\ndata: more\n\n"}
    assert source.asked == 1
    for stream in streams:
        await stream.aclose()


async def test_nothing_is_made_once_nobody_looks(feeds: Feeds) -> None:
    source = Counter()
    events = feeds.follow("key", source, every=0.01)
    await anext(events)
    await events.aclose()
    await asyncio.sleep(0)  # the poller sees that it is canceled
    asked = source.asked
    await asyncio.sleep(0.05)
    assert source.asked == asked


async def test_who_is_slow_gets_the_newest_alone(feeds: Feeds) -> None:
    newest = asyncio.Event()
    told = iter(["first", "second", "third"])

    async def source() -> News:
        text = next(told, None)
        if text is None:
            newest.set()
        return News(text or "last")

    events = feeds.follow("key", source, every=0.001)
    await anext(events)
    await newest.wait()
    await asyncio.sleep(0)
    assert await anext(events) == "data: last\n\n"
    await events.aclose()


async def test_stream_ends_with_what_will_not_change_any_more(feeds: Feeds) -> None:
    async def ended() -> News:
        return News("over", ended=True)

    assert [event async for event in feeds.follow("key", ended)] == ["data: over\n\n", END]


async def test_source_that_fails_is_asked_again(
    feeds: Feeds, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([ValueError("broken"), News("mended", ended=True)])

    async def source() -> News:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    stream = feeds.follow("key", source, every=0.01)
    assert [event async for event in stream] == ["data: mended\n\n", END]
    assert "could not be brought up to date" in caplog.text


async def test_closing_ends_every_stream(feeds: Feeds) -> None:
    streams = [feeds.follow(number, Counter(most=1)) for number in range(3)]
    for stream in streams:
        await anext(stream)
    feeds.close()
    async with asyncio.timeout(10):
        assert [[event async for event in stream] for stream in streams] == [[], [], []]
    assert [event async for event in feeds.follow("late", Counter())] == []


async def test_there_is_an_end_to_how_many_may_look(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LISTENERS", 1)
    events = feeds.follow("key", Counter())
    await anext(events)
    with pytest.raises(Full):
        feeds.follow("other", Counter())
    await events.aclose()
    await anext(feeds.follow("other", Counter()))


async def test_one_namespace_cannot_take_the_room_of_all(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OF_ONE", 1)
    events = feeds.follow("key", Counter(), owner="acme")
    await anext(events)
    with pytest.raises(Full):
        feeds.follow("key", Counter(), owner="acme")
    other = feeds.follow("other", Counter(), owner="globex")
    await anext(other)
    for stream in (events, other):
        await stream.aclose()


async def test_listener_of_a_quiet_feed_is_told_that_the_stream_lives(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_SECONDS", 0.02)
    events = feeds.follow("key", Counter(most=1))
    await anext(events)
    assert await anext(events) == ":\n\n"
    await events.aclose()
