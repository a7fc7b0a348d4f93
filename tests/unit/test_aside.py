from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import pytest

from api.aside import SMALL_BYTES, Aside
from api.problems import Problem
from api.reading import LINE_BYTES, read_memories
from memrelay.errors import Unavailable
from memrelay.pacing import Pace

BROUGHT = {"default": None, "vectors": 2}
WHEN = "2026-01-31T12:00:00Z"


@pytest.fixture
async def aside() -> AsyncIterator[Aside]:
    aside = Aside(BROUGHT, Pace(lambda: False, share=1))
    await aside.start()
    yield aside
    await aside.close()


@pytest.mark.parametrize(("count", "paced"), [(200, False), (1000, True)])
async def test_bulk_work_alone_waits_for_its_turn(count: int, paced: bool) -> None:
    """A single write may be larger than what is read in the API itself: it brings a vector."""
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    aside = Aside(BROUGHT, Pace(lambda: True, share=0.01, sleep=rest))
    await aside.start()
    raw = body("turn", count)
    assert len(raw) > SMALL_BYTES
    for _ in range(2):
        await aside.memories(raw)
    await aside.close()
    assert bool(rests) == paced


def body(name: str, count: int = 200, **more: object) -> bytes:
    rows = [
        {"id": f"{name}-{number}", "text": "a text of some length " * 5, "created_at": WHEN, **more}
        for number in range(count)
    ]
    raw = json.dumps({"memories": rows, "lane": "bulk"}).encode()
    assert len(raw) > SMALL_BYTES
    return raw


async def test_a_large_body_is_read_as_a_small_one_is(aside: Aside) -> None:
    raw = body("m")
    assert await aside.memories(raw) == read_memories(raw, BROUGHT)


async def test_the_loop_goes_on_meanwhile(aside: Aside) -> None:
    await aside.memories(body("warm"))
    work = asyncio.create_task(aside.memories(body("m", count=1000)))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20


async def test_what_is_wrong_is_told_with_the_same_pointers(aside: Aside) -> None:
    raw = body("m", user_id="\u0000")
    with pytest.raises(Problem) as told:
        await aside.memories(raw)
    with pytest.raises(Problem) as expected:
        read_memories(raw, BROUGHT)
    assert (told.value.status, told.value.code) == (422, "invalid")
    assert told.value.errors == expected.value.errors
    assert told.value.errors[0][0] == "/memories/0/user_id"


async def test_answers_come_in_the_order_of_the_orders(aside: Aside) -> None:
    ended: list[int] = []

    async def one(number: int) -> None:
        lines = [(number, b'{"text": "a text"}')] * (200 if number % 2 else 1)
        read = await aside.lines(lines, "default", "key")
        assert read.taken[0][0] == number
        ended.append(number)

    await asyncio.gather(*(one(number) for number in range(30)))
    assert ended == list(range(30))


async def test_each_line_is_read_for_itself(aside: Aside) -> None:
    lines = [(7, b'{"text": "a"}'), (8, b'{"text": 1}'), (9, b" " * (LINE_BYTES + 1))]
    read = await aside.lines(lines, "default", "key")
    again = await aside.lines(lines[:1], "default", "key")
    [(number, id, _)] = read.taken
    assert (number, id) == (7, again.taken[0][1])
    assert [refused["error"]["code"] for refused in read.refused.values()] == [
        "invalid",
        "too_large",
    ]
    [unbrought] = (await aside.lines(lines[:1], "vectors", "key")).refused.values()
    assert unbrought["error"]["errors"][0]["pointer"] == "/vector"


async def test_who_goes_away_leaves_nobody_a_foreign_answer(aside: Aside) -> None:
    gone = asyncio.create_task(aside.memories(body("gone", count=1000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()
    read = await aside.memories(body("mine"))
    assert read.ids[0] == "mine-0"


async def test_after_its_death_an_order_is_refused_and_the_next_one_is_done(aside: Aside) -> None:
    await aside.memories(body("m"))
    assert aside.pid is not None
    os.kill(aside.pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        await aside.memories(body("m"))
    assert (await aside.memories(body("after"))).ids[0] == "after-0"
