from __future__ import annotations

from random import Random

import pytest

from memrelay.errors import Transient
from memrelay.retry import Backoff

ERROR = Transient("later")


class Fixed(Random):
    """Always the same draw."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60)])
def test_delay_doubles_up_to_the_longest_with_jitter_above_half(
    attempt: int, ceiling: float
) -> None:
    backoff = Backoff(first=0.5, longest=60.0)
    assert backoff.delay(attempt, ERROR, Fixed(0.0)) == ceiling / 2
    assert backoff.delay(attempt, ERROR, Fixed(0.999999)) == pytest.approx(ceiling, rel=1e-5)


def test_delays_differ_so_that_failures_do_not_return_together() -> None:
    random = Random(7)
    assert len({Backoff().delay(5, ERROR, random) for _ in range(20)}) == 20


def test_peer_is_never_asked_sooner_than_it_said() -> None:
    asked = Transient("slow down", retry_after=90.0)
    assert Backoff().delay(1, asked, Fixed(0.5)) == 90.0
    assert Backoff().delay(1, Transient("x", retry_after=0.0), Fixed(0.0)) == 0.25


@pytest.mark.parametrize("attempt", [0, 1000, 10**6])
def test_any_number_of_attempts_has_a_finite_delay(attempt: int) -> None:
    assert 0 < Backoff().delay(attempt, ERROR, Fixed(0.5)) <= 60
