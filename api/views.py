"""What answers look like: jobs and memories as JSON values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from backends.journal import Put
from backends.journal.dead import DeadLetter
from backends.journal.sync import Pass
from memrelay.jobs import Job
from memrelay.times import format_time
from memrelay.types import Hit, Memory, vector_from_bytes

PREVIEW = 200


def job_view(job: Job) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "source": job.source,
        "lane": job.lane,
        "total": job.total,
        "counts": {
            driver: {
                "total": c.total,
                "stored": c.stored,
                "failed": c.failed,
                "needs_sync": c.needs_sync,
                "canceled": c.canceled,
            }
            for driver, c in job.counts.items()
        },
        "errors": [
            {
                "id": failure.id,
                "version": failure.version,
                "driver": failure.driver,
                "code": failure.code,
                "detail": failure.detail,
            }
            for failure in job.errors
        ],
        "accepted_at": format_time(job.accepted_at),
        "ended_at": _time(job.ended_at),
        "timings": {
            "started_at": _time(job.started_at),
            "drivers": {
                driver: {
                    "began_at": _time(course.began_at),
                    "last_at": _time(course.last_at),
                    "retries": course.retries,
                }
                for driver, course in job.courses.items()
            },
        },
    }
    return view


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else format_time(microseconds)


def memory_view(memory: Memory, include: Collection[str] = ("text", "metadata")) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": memory.id,
        "user_id": memory.user_id,
        "session_id": memory.session_id,
        "source": memory.source,
        "tags": memory.tags,
        "created_at": format_time(memory.created_at),
        "expires_at": None if memory.expires_at is None else format_time(memory.expires_at),
        "version": memory.version,
    }
    if "text" in include:
        view["text"] = memory.text
    if "metadata" in include:
        view["metadata"] = memory.metadata
    return view


def hit_view(hit: Hit, include: Collection[str]) -> dict[str, Any]:
    view = memory_view(hit.memory, include)
    view["score"] = hit.score
    if "vector" in include:
        view["vector"] = None if hit.vector is None else vector_from_bytes(hit.vector)
    return view


def dead_letter_view(letter: DeadLetter) -> dict[str, Any]:
    """``memory`` is a look at it, with the beginning of its text; None where a delete died."""
    write = letter.write
    memory = None
    if isinstance(write, Put):
        memory = {
            "text": write.text[:PREVIEW],
            "user_id": write.user_id,
            "session_id": write.session_id,
            "tags": write.tags,
        }
    return {
        "version": letter.version,
        "id": letter.id,
        "source": letter.source,
        "stage": letter.stage,
        "code": letter.code,
        "detail": letter.detail,
        "drivers": letter.drivers,
        "attempts": letter.attempts,
        "died_at": format_time(letter.died_at),
        "memory": memory,
    }


def pass_view(it: Pass, namespace: str) -> dict[str, Any]:
    """One reconcile of a driver, with what it found so far in the sources of one namespace."""
    own = f"{namespace}|"
    return {
        "full": it.full,
        "asked_at": format_time(1000 * it.asked_at),
        "ended_at": None if it.ended_at is None else format_time(1000 * it.ended_at),
        "error": it.error or None,
        "report": {
            place.removeprefix(own): found
            for place, found in it.report.items()
            if place.startswith(own)
        },
    }
