"""What callers say: memories and changes to them, and which jobs and dead letters are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict


class NewMemory(TypedDict, total=False):
    """A memory to take in. An existing ``id`` is replaced whole; one is made up if it is left out."""

    text: Required[str]
    id: str
    user_id: str
    session_id: str
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    created_at: datetime | str
    expires_at: datetime | str
    vector: Sequence[float]


class Recency(TypedDict, total=False):
    """What age counts in a search: ``weight`` for what is new (0 to 1; 0.2 if left out), half of that after
    ``half_life`` seconds."""

    half_life: Required[float]
    weight: float


class WhichDead(TypedDict, total=False):
    """Which dead letters: everything given must hold, or ``all`` alone."""

    code: str
    driver: str
    source: str
    ids: Sequence[str]
    before: datetime | str
    after: datetime | str
    all: bool


class WhichJobs(TypedDict, total=False):
    """Which jobs: everything given must hold, or ``all`` alone. Times are of acceptance."""

    ids: Sequence[str]
    status: Literal["accepted", "processing"]
    source: str
    before: datetime | str
    after: datetime | str
    all: bool


class Changes(TypedDict, total=False):
    """What is to change of a memory; None takes a field away. ``metadata`` is merged field by field."""

    text: str
    user_id: str | None
    session_id: str | None
    tags: Sequence[str] | None
    metadata: Mapping[str, Any] | None
    created_at: datetime | str | None
    expires_at: datetime | str | None
    vector: Sequence[float]


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON: times as RFC 3339."""
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in given.items()
    }
