"""Hybrid search: vector hits of one driver and keyword hits of another (or the same), fused by id."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from memrelay.types import Hit

VECTOR_WEIGHT = 0.3


def relative(hits: Sequence[Hit]) -> dict[str, float]:
    """Scores stretched to [0, 1] over these hits, by id; a single hit (or equal ones) counts 1."""
    if not hits:
        return {}
    low, high = min(hit.score for hit in hits), max(hit.score for hit in hits)
    width = high - low
    return {hit.memory.id: (hit.score - low) / width if width > 0 else 1.0 for hit in hits}


def fuse(
    vectors: Sequence[Hit],
    keywords: Sequence[Hit],
    *,
    unseen: Collection[str] = (),
    weight: float = VECTOR_WEIGHT,
) -> list[Hit]:
    """Hits by descending fused score in [0, 1], ties by id; the newer version of an id is shown.

    ``unseen`` are ids which the keyword driver does not hold yet: those are scored on vectors alone.
    """
    by_vector, by_keyword = relative(vectors), relative(keywords)
    chosen: dict[str, Hit] = {}
    for hit in (*vectors, *keywords):
        known = chosen.get(hit.memory.id)
        if known is None or hit.memory.version > known.memory.version:
            chosen[hit.memory.id] = hit
    fused = []
    for id, hit in chosen.items():
        score = weight * by_vector.get(id, 0.0) + (1 - weight) * by_keyword.get(id, 0.0)
        if id in unseen:
            score = by_vector[id]
        fused.append(replace(hit, score=score))
    fused.sort(key=lambda hit: (-hit.score, hit.memory.id))
    return fused
