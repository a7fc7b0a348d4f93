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


def shares(job: Job) -> list[Part]:
    """Of its memories, over all drivers."""
    return _share(list(job.counts.values()))


def _share(counts: Sequence[DriverCounts]) -> list[Part]:
    stored = sum(each.stored for each in counts)
    failed = sum(each.failed for each in counts)
    unsynced = sum(each.needs_sync for each in counts)
    canceled = sum(each.canceled for each in counts)
    pieces = [
        ("ok", stored, f"{number(stored)} stored"),
        ("bad", failed, f"{number(failed)} failed"),
        ("warn", unsynced, f"{number(unsynced)} left to sync"),
        ("mute", canceled, f"{number(canceled)} canceled"),
    ]
    return parts(pieces, sum(each.total for each in counts))


def _lane(job: Job, driver: str, counts: DriverCounts, now: int, whole: int) -> Lane:
    course = job.courses.get(driver, Course(None, None, 0))
    ended = counts.stored + counts.failed + counts.needs_sync + counts.canceled
    left = counts.total - ended
    stretches = _stretches(job, course, left, now)
    by_tone: dict[str, float] = {}
    for tone, seconds in stretches:
        by_tone[tone] = by_tone.get(tone, 0.0) + seconds
    return Lane(
        driver=driver,
        primary=driver == job.primary,
        counts=counts,
        left=left,
        retries=course.retries,
        share=_share([counts]),
        time=_bar(stretches, whole / 1e6),
        waited=by_tone.get("mute"),
        prepared=by_tone.get("violet"),
        stored=by_tone.get("accent"),
        took=None if left or course.last_at is None else (course.last_at - job.accepted_at) / 1e6,
    )


def _stretches(job: Job, course: Course, left: int, now: int) -> list[tuple[str, float]]:
    """(tone, seconds), one after the other from accepting on."""
    began, last = course.began_at, course.last_at
    pause = "warn" if course.retries else "mute"
    ends = [
        ("mute", job.started_at),
        ("violet", _embedded_at(job)),
        (pause, began),
        ("accent", last),
    ]
    at, made = job.accepted_at, []
    for tone, end in ends:
        if end is not None and end > at:
            made.append((tone, (end - at) / 1e6))
            at = end
    if left and now > at:
        made.append((_under_way(job, course), (now - at) / 1e6))
    return made


def _embedded_at(job: Job) -> int | None:
    """When the first driver began to store it: all of them wait for that alike, and some for more."""
    courses = job.courses.values()
    return min((it.began_at for it in courses if it.began_at is not None), default=None)


def _under_way(job: Job, course: Course) -> str:
    """The tone of what goes on now."""
    if job.started_at is None:
        return "mute"
    tried = course.retries or course.began_at is not None or _embedded_at(job) is not None
    return "warn" if tried else "violet"


def _bar(stretches: Sequence[tuple[str, float]], whole: float) -> list[Part]:
    names = dict(STEPS)
    return parts([(t, s, f"{names[t]}: {duration(s)}") for t, s in stretches], whole)
