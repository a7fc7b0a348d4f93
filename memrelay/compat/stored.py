"""Adapters answer when a write is stored, or raise."""

from __future__ import annotations

from memrelay.client import Job
from memrelay.errors import Permanent, Unavailable


def check_stored(job: Job, *, waited: float) -> None:
    """Raises ``Unavailable`` unless the primary driver ended it in ``waited`` seconds, ``Permanent`` if it
    refused a part, or somebody canceled it."""
    if not job.settled:
        raise Unavailable(f"job {job.id} is accepted, and not stored after {waited:g} s")
    if job.primary.canceled:
        raise Permanent(f"job {job.id} was canceled", code="canceled")
    if job.primary.failed:
        first = job.errors[0].detail if job.errors else "see its dead letters"
        raise Permanent(f"job {job.id}: {job.primary.failed} of {job.total} failed: {first}")
