"""The rate limit, under a clock that the test turns."""

from __future__ import annotations

import time

import pytest

from backends.embedding.limiter import Bucket, Limiter
from memrelay.errors import Transient


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_fits_one_second_goes_at_once_and_the_rest_waits_its_turn() -> None:
    clock = Clock()
    bucket = Bucket(600, clock)
    assert [bucket.take(5) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    clock.now = 3.0
    assert bucket.take(10) == 0.0


def test_a_minute_sees_no_more_than_the_rate_and_one_second() -> None:
    clock = Clock()
    bucket = Bucket(120, clock)
    starts = [bucket.take(1) for _ in range(200)]
    assert sum(start <= 60 for start in starts) == 120 + 2


def test_more_than_a_minute_allows_is_waited_for_not_refused() -> None:
    assert Bucket(60, Clock()).take(120) == pytest.approx(119)


async def test_a_wait_that_is_too_long_is_transient_and_costs_nothing() -> None:
    clock = Clock()
    limiter = Limiter(clock, requests_per_minute=60, tokens_per_minute=6_000, longest_wait=5)
    with pytest.raises(Transient) as caught:
        await limiter.admit(1_100)
    assert caught.value.retry_after == pytest.approx(10)
    await limiter.admit(100)  # the whole second's worth is still there


async def test_no_limits_admit_everything() -> None:
    limiter = Limiter(Clock())
    for _ in range(1000):
        await limiter.admit(10**9)


async def test_a_short_wait_is_waited() -> None:
    limiter = Limiter(time.monotonic, requests_per_minute=600)
    started = time.monotonic()
    for _ in range(12):
        await limiter.admit(0)
    assert 0.15 <= time.monotonic() - started < 2
