from __future__ import annotations

import asyncio

import pytest

from memrelay.pacing import LONGEST_REST, Pace


class Time:
    """It passes when somebody sleeps, or works."""

    def __init__(self) -> None:
        self.now = 100.0
        self.hurried = True
        self.slept: list[float] = []

    def pace(self, share: float = 0.2) -> Pace:
        return Pace(lambda: self.hurried, share=share, clock=lambda: self.now, sleep=self._sleep)

    async def work(self, pace: Pace, seconds: float) -> None:
        async with pace.turn():
            self.now += seconds

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


async def test_turns_take_their_share_of_the_time(time: Time) -> None:
    pace = time.pace()
    for seconds in (0.01, 0.02, 0.01):
        await time.work(pace, seconds)
    assert time.slept == [0.04, 0.08]


async def test_what_has_rested_already_does_not_wait(time: Time) -> None:
    pace = time.pace()
    await time.work(pace, 0.01)
    time.now += 0.03
    await time.work(pace, 0.01)
    time.now += 1
    await time.work(pace, 0.01)
    assert time.slept == [0.01]


async def test_turns_do_not_wait_while_nobody_is_in_a_hurry(time: Time) -> None:
    pace = time.pace()
    time.hurried = False
    for _ in range(3):
        await time.work(pace, 0.01)
    assert time.slept == []
    time.hurried = True
    await time.work(pace, 0.01)
    assert time.slept == [0.04]


async def test_a_share_of_all_the_time_is_never_paced(time: Time) -> None:
    pace = time.pace(share=1)
    assert not pace.hurried
    for _ in range(3):
        await time.work(pace, 0.01)
    assert time.slept == []


async def test_a_long_turn_is_followed_by_a_bounded_rest(time: Time) -> None:
    pace = time.pace()
    await time.work(pace, 30)
    await time.work(pace, 0.01)
    assert time.slept == [LONGEST_REST]


async def test_a_turn_that_fails_or_is_given_up_counts_as_well(time: Time) -> None:
    pace = time.pace()
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error):
            async with pace.turn():
                time.now += 0.01
                raise error
    await time.work(pace, 0.01)
    assert time.slept == [0.04, 0.04]
