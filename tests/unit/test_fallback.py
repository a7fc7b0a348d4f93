from __future__ import annotations

import pytest

from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable
from memrelay.fallback import FAILOVER, first_answer


class Peers:
    """Peers that answer with their name or fail, and take their time on a clock of their own."""

    def __init__(self, **takes: float | MemrelayError) -> None:
        self.takes = takes
        self.now = 0.0
        self.asked: list[tuple[str, float]] = []

    def clock(self) -> float:
        return self.now

    async def ask(self, peer: str, timeout: float) -> str:
        self.asked.append((peer, timeout))
        takes = self.takes[peer]
        if isinstance(takes, MemrelayError):
            raise takes
        self.now += min(takes, timeout)
        if takes > timeout:
            raise Transient(f"{peer} did not answer")
        return f"hello from {peer}"

    async def first(self, deadline: float = 5.0) -> tuple[str, str, bool]:
        answer = await first_answer(list(self.takes), self.ask, deadline=deadline, clock=self.clock)
        return answer.peer, answer.value, answer.fallback


async def test_first_peer_answers_and_nobody_else_is_asked() -> None:
    peers = Peers(a=0.1, b=0.1)
    assert await peers.first() == ("a", "hello from a", False)
    assert peers.asked == [("a", FAILOVER)]


async def test_next_peer_answers_when_the_first_fails_for_now() -> None:
    peers = Peers(a=Transient("down"), b=Unavailable("down"), c=0.1)
    assert await peers.first() == ("c", "hello from c", True)
    assert [peer for peer, _ in peers.asked] == ["a", "b", "c"]


async def test_slow_peer_is_given_up_and_the_last_gets_all_that_is_left() -> None:
    peers = Peers(a=60.0, b=2.0)
    assert await peers.first(deadline=5.0) == ("b", "hello from b", True)
    assert peers.asked == [("a", FAILOVER), ("b", 5.0 - FAILOVER)]


async def test_no_peer_is_asked_past_the_deadline() -> None:
    peers = Peers(a=60.0, b=0.1)
    with pytest.raises(Unavailable, match="the deadline has passed"):
        await peers.first(deadline=1.0)
    assert peers.asked == [("a", 1.0)]


async def test_all_peers_down_is_an_error_that_tells_every_reason() -> None:
    peers = Peers(a=Transient("a is tired"), b=Transient("b is away"))
    with pytest.raises(Unavailable, match=r"a is tired; b is away") as caught:
        await peers.first()
    assert caught.value.code == "no_driver"


async def test_permanent_refusal_is_the_answer() -> None:
    peers = Peers(a=Permanent("never"), b=0.1)
    with pytest.raises(Permanent, match="never"):
        await peers.first()
    assert len(peers.asked) == 1
