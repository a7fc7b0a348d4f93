from __future__ import annotations

import pytest

from memrelay.breaker import Breaker


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock, failures=3, cooldown=1.0, longest=4.0)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed()


def test_some_failures_in_a_row_open_it(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert (breaker.state, breaker.allows()) == ("closed", True)
    fail(breaker, 1)
    assert (breaker.state, breaker.allows()) == ("open", False)
    assert breaker.remaining == 1.0


def test_success_in_between_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_after_the_cooldown_one_probe_is_let_through(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 0.99
    assert not breaker.allows()
    clock.now += 0.01
    assert breaker.state == "half-open"
    assert breaker.remaining == 0.0
    assert breaker.allows()
    assert not breaker.allows()


def test_probe_that_succeeds_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 1
    breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed"
    assert all(breaker.allows() for _ in range(5))
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_every_probe_that_fails_doubles_the_cooldown_up_to_the_longest(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, 3)
    waits = []
    for _ in range(4):
        waits.append(breaker.remaining)
        clock.now += breaker.remaining
        assert breaker.allows()
        breaker.failed()
    assert waits == [1.0, 2.0, 4.0, 4.0]
    clock.now += breaker.remaining
    breaker.allows()
    breaker.succeeded()
    fail(breaker, 3)
    assert breaker.remaining == 1.0


def test_probe_that_never_reports_is_replaced(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 1
    assert breaker.allows()
    clock.now += 3.99
    assert not breaker.allows()
    clock.now += 0.01
    assert breaker.allows()
