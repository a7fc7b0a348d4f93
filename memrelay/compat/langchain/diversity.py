"""Maximal marginal relevance: hits that fit the query and are not like each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from memrelay.client import Hit


def diverse(hits: Sequence[Hit], k: int, lambda_mult: float) -> list[Hit]:
    """At most ``k`` hits, which have vectors and cosines as scores, in the order in which they are chosen.

    Each is the one with the largest ``lambda_mult * score - (1 - lambda_mult) * similarity``, where the
    similarity is to the most similar of those chosen before; of equals the first.
    """
    left = list(range(len(hits)))
    units = [_unit(hit.vector or ()) for hit in hits]
    similarity = [0.0] * len(hits)
    chosen: list[Hit] = []
    while left and len(chosen) < k:
        redundant = 1 - lambda_mult if chosen else 0.0
        best = max(left, key=lambda at: lambda_mult * hits[at].score - redundant * similarity[at])
        left.remove(best)
        for at in left:
            alike = math.sumprod(units[at], units[best])
            similarity[at] = max(similarity[at], alike) if chosen else alike
        chosen.append(hits[best])
    return chosen


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [value / length for value in vector]
