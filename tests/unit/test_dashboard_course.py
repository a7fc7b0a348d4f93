"""Where the time of a job went, driver by driver."""

from __future__ import annotations

from typing import Any

from api.dashboard.course import Lane, lanes
from memrelay.jobs import Course, DriverCounts, Job

SECOND = 1_000_000


def job(course: Course, counts: DriverCounts, **fields: Any) -> Job:
    times = {"accepted_at": 0, "started_at": SECOND, "ended_at": None}
    return Job(
        id="job_1_4",
        status="processing",
        source="default",
        lane="bulk",
        total=4,
        primary="a",
        counts={"a": counts},
        courses={"a": course},
        **times | fields,
    )


def tones(lane: Lane) -> list[tuple[str, float]]:
    return [(part.tone, part.width) for part in lane.time]


def test_job_that_nobody_took_up_has_waited_all_the_time() -> None:
    it = job(Course(None, None, 0), DriverCounts(total=4, stored=0, failed=0), started_at=None)
    (lane,) = lanes(it, now=10 * SECOND)
    assert tones(lane) == [("mute", 100)]
    assert (lane.waited, lane.took, lane.left) == (10, None, 4)


def test_stored_job_waited_was_embedded_and_stored() -> None:
    it = job(
        Course(3 * SECOND, 10 * SECOND, 0),
        DriverCounts(total=4, stored=4, failed=0),
        ended_at=10 * SECOND,
    )
    (lane,) = lanes(it, now=99 * SECOND)
    assert tones(lane) == [("mute", 10), ("violet", 20), ("accent", 70)]
    assert (lane.waited, lane.prepared, lane.stored, lane.took) == (1, 2, 7, 10)
    assert [(part.tone, part.width) for part in lane.share] == [("ok", 100)]


def test_driver_that_did_not_take_it_at_once_is_being_tried_again() -> None:
    it = job(Course(None, None, 2), DriverCounts(total=4, stored=0, failed=0))
    (lane,) = lanes(it, now=10 * SECOND)
    assert tones(lane) == [("mute", 10), ("warn", 90)]
    assert lane.retries == 2


def test_what_is_left_of_a_driver_goes_on_until_now() -> None:
    it = job(Course(2 * SECOND, 5 * SECOND, 0), DriverCounts(total=4, stored=3, failed=0))
    (lane,) = lanes(it, now=10 * SECOND)
    assert tones(lane)[-1] == ("warn", 50)
    assert (lane.left, lane.took) == (1, None)


def test_outcomes_are_shown_in_their_shares() -> None:
    counts = DriverCounts(total=4, stored=2, failed=1, needs_sync=1)
    (lane,) = lanes(job(Course(2 * SECOND, 5 * SECOND, 0), counts), now=10 * SECOND)
    assert [(p.tone, p.width) for p in lane.share] == [("ok", 50), ("bad", 25), ("warn", 25)]
    assert lane.took == 5
