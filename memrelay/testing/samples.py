"""Deterministic sample memories and vectors: the same seed gives the same bytes on every machine."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from memrelay.types import Memory, Space, Upsert, vector_from_bytes, vector_to_bytes

SPACE = Space("memrelay/conformance", 16)
NOW = 1_769_860_800_000_000
"""2026-01-31T12:00:00Z in microseconds: the clock of all samples."""
SECOND = 1_000_000
WORDS = (
    "coffee", "tea", "window", "train", "river", "mountain", "guitar", "invoice", "deadline", "birthday",
    "doctor", "garden", "bicycle", "password", "holiday", "recipe", "museum", "weather", "battery", "ticket",
    "kitchen",
)  # fmt: skip


def vector(seed: int | str, dimensions: int = SPACE.dimensions) -> bytes:
    """A random direction with a length between 0.5 and 5."""
    return _drawn(seed, dimensions)


def _drawn(seed: int | str, dimensions: int = SPACE.dimensions) -> bytes:
    rng = random.Random(f"vector {seed}")
    direction = _unit([rng.gauss(0, 1) for _ in range(dimensions)])
    length = rng.uniform(0.5, 5)
    return vector_to_bytes(length * value for value in direction)


def vector_at(axis: bytes, cosine: float, seed: int | str) -> bytes:
    """A vector whose cosine with ``axis`` is ``cosine`` (to float32), of a random length."""
    rng = random.Random(f"vector_at {seed}")
    along = _unit(vector_from_bytes(axis))
    drawn = [rng.gauss(0, 1) for _ in along]
    overlap = _dot(drawn, along)
    across = _unit([a - overlap * b for a, b in zip(drawn, along, strict=True)])
    sine = math.sqrt(max(0.0, 1 - cosine * cosine))
    length = rng.uniform(0.5, 5)
    return vector_to_bytes(
        length * (cosine * a + sine * b) for a, b in zip(along, across, strict=True)
    )


def cosine(left: bytes, right: bytes) -> float:
    """In double precision, over the float32 values."""
    return _dot(_unit(vector_from_bytes(left)), _unit(vector_from_bytes(right)))


def sentence(seed: int | str, words: int = 8) -> str:
    """Everyday words."""
    rng = random.Random(f"sentence {seed}")
    return " ".join(rng.choice(WORDS) for _ in range(words))


def memory(id: str, *, version: int = 1, **fields: Any) -> Memory:
    """A memory of user ``ann``, with whatever else is given."""
    fields.setdefault("text", sentence(id))
    fields.setdefault("user_id", "ann")
    fields.setdefault("created_at", NOW - 3600 * SECOND)
    return Memory(id=id, version=version, **fields)


def upsert(id: str, *, version: int = 1, vector: bytes | None = None, **fields: Any) -> Upsert:
    """An upsert of ``memory(id, …)``; its vector follows from id and version unless it is given."""
    return Upsert(memory(id, version=version, **fields), vector or _drawn(f"{id} {version}"))


def upserts(
    count: int, *, first_version: int = 1, prefix: str = "m", users: Sequence[str | None] = ("ann",)
) -> list[Upsert]:
    """``count`` upserts with rising versions, users in turn, and metadata to filter by."""
    return [
        upsert(
            f"{prefix}{index:05d}",
            version=first_version + index,
            user_id=users[index % len(users)],
            tags=(f"tag{index % 5}", "all"),
            metadata=_metadata(index),
        )
        for index in range(count)
    ]


def _metadata(index: int) -> Mapping[str, Any]:
    return {"topic": WORDS[index % len(WORDS)], "score": index, "done": index % 2 == 0}


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def _unit(values: Sequence[float]) -> list[float]:
    length = math.sqrt(_dot(values, values))
    return [value / length for value in values]
