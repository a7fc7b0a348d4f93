"""The course of a job: for each driver, what its memories became and where the time went, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.dashboard.charts import Part, parts
from api.dashboard.formats import duration, number
from memrelay.jobs import Course, DriverCounts, Job

STEPS = (
    ("mute", "waiting"),
    ("violet", "embedding"),
    ("accent", "storing"),
    ("warn", "trying again"),
)
"""Tones and names of the stretches of a driver's time, for the legend."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One driver of a job. ``share``: of its memories; ``time``: from accepting on, the same scale for all.

    Times in seconds, None where there is none yet. ``took``: from accepting until it was done.
    """

    driver: str
    primary: bool
    counts: DriverCounts
    left: int
    retries: int
    share: Sequence[Part]
    time: Sequence[Part]
    waited: float | None
    prepared: float | None
    stored: float | None
    took: float | None


def lanes(job: Job, now: int) -> list[Lane]:
    """In the order of the source; ``now`` (microseconds) is how far what is open has come."""
    whole = max((job.ended_at or now) - job.accepted_at, 1)
    return [_lane(job, driver, counts, now, whole) for driver, counts in job.counts.items()]


def _lane(job: Job, driver: str, counts: DriverCounts, now: int, whole: int) -> Lane:
    course = job.courses.get(driver, Course(None, None, 0))
    left = counts.total - counts.stored - counts.failed - counts.needs_sync
    pieces = [
        ("ok", counts.stored, f"{number(counts.stored)} stored"),
        ("bad", counts.failed, f"{number(counts.failed)} failed"),
        ("warn", counts.needs_sync, f"{number(counts.needs_sync)} left to sync"),
    ]
    stretches = _stretches(job, course, left, now)
    by_tone = dict(stretches)
    return Lane(
        driver=driver,
        primary=driver == job.primary,
        counts=counts,
        left=left,
        retries=course.retries,
        share=parts(pieces, counts.total),
        time=_bar(stretches, whole / 1e6),
        waited=by_tone.get("mute"),
        prepared=by_tone.get("violet"),
        stored=by_tone.get("accent"),
        took=None if left or course.last_at is None else (course.last_at - job.accepted_at) / 1e6,
    )


def _stretches(job: Job, course: Course, left: int, now: int) -> list[tuple[str, float]]:
    """(tone, seconds), one after the other from accepting on."""
    start = job.started_at
    if start is None:
        return [("mute", (now - job.accepted_at) / 1e6)] if left else []
    made = [("mute", (start - job.accepted_at) / 1e6)]
    if course.began_at is None or course.last_at is None:
        tone = "warn" if course.retries else "violet"
        return [*made, (tone, (now - start) / 1e6)] if left else made
    made.append(("warn" if course.retries else "violet", (course.began_at - start) / 1e6))
    made.append(("accent", (course.last_at - course.began_at) / 1e6))
    if left:
        made.append(("warn", (now - course.last_at) / 1e6))
    return made


def _bar(stretches: Sequence[tuple[str, float]], whole: float) -> list[Part]:
    names = dict(STEPS)
    return parts([(t, s, f"{names[t]}: {duration(s)}") for t, s in stretches], whole)
