"""Scores beyond one driver's: vector and keyword hits fused by id, and hits weighed by their age."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from memrelay.types import Hit

VECTOR_WEIGHT = 0.3
RECENCY_WEIGHT = 0.2
_SECOND = 1_000_000


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


def shares(hits: Sequence[Hit]) -> list[Hit]:
    """Hits in their order, each score as its share of the best one: keyword scores have no upper end.

    Unlike ``relative``, it leaves near scores near, however few there are. Where one is negative, or all
    are 0, there are no shares: then it is ``relative``.
    """
    scores = {hit.memory.id: hit.score for hit in hits}
    best = max(scores.values(), default=0.0)
    if best > 0 and min(scores.values()) >= 0:
        scores = {id: score / best for id, score in scores.items()}
    else:
        scores = relative(hits)
    return [replace(hit, score=scores[hit.memory.id]) for hit in hits]


def weigh_recency(
    hits: Iterable[Hit], *, now: int, half_life: float, weight: float = RECENCY_WEIGHT
) -> list[Hit]:
    """Hits by descending ``(1 - weight) * score + weight * 0.5 ** (age / half_life)``, ties by id.

    ``half_life`` is in seconds, ``now`` in microseconds; what is created later than that has age 0.
    """
    weighed = []
    for hit in hits:
        age = max(0, now - hit.memory.created_at) / _SECOND
        score = (1 - weight) * hit.score + weight * 0.5 ** (age / half_life)
        weighed.append(replace(hit, score=score))
    weighed.sort(key=lambda hit: (-hit.score, hit.memory.id))
    return weighed
