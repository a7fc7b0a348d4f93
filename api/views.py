"""What answers look like: jobs and memories as JSON values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from memrelay.jobs import Job
from memrelay.times import format_time
from memrelay.types import Hit, Memory, vector_from_bytes


def job_view(job: Job) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "source": job.source,
        "lane": job.lane,
        "total": job.total,
        "counts": {
            driver: {"total": c.total, "stored": c.stored, "failed": c.failed}
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
        "ended_at": None if job.ended_at is None else format_time(job.ended_at),
    }
    return view


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
