"""What the drivers' page says of a driver that is away."""

from __future__ import annotations

from typing import Any

from api.dashboard.page import Viewer, fragment

VIEWER = Viewer("default", writes=True, admin=True, operator=False, signed_in=False)
ROW: dict[str, Any] = {
    "name": "cache",
    "type": "redis",
    "state": "unreachable",
    "answers": False,
    "breaker": "closed",
    "backlog": 1600,
    "oldest_seconds": 33.0,
    "held": False,
    "alarm": None,
    "sync": None,
    "members": {},
}


def shown(**row: Any) -> str:
    return fragment("drivers_live.html", drivers=[ROW | row], found={"cache": []}, viewer=VIEWER)


def test_a_driver_that_does_not_answer_has_what_waits_for_it_and_a_next_step() -> None:
    text = shown()
    assert "cache does not answer." in text
    assert "1,600 memories" in text
    assert "memrelay doctor" in text


def test_nothing_waits_for_one_that_serves_or_was_detached() -> None:
    for row in ({"answers": True, "state": "serving"}, {"state": "away"}):
        assert "waits in the journal" not in shown(**row)
