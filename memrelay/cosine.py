"""Cosines, for drivers that compare vectors themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from memrelay.types import vector_from_bytes


class Cosine:
    """Of one vector (float32 bytes) with others, -1 to 1. To scale one by a power of two changes nothing."""

    def __init__(self, vector: bytes) -> None:
        self._axis = vector_from_bytes(vector)
        self._length = _length(self._axis)

    def __call__(self, values: Sequence[float]) -> float:
        """0 where there is no direction; clamped before it orders, so that ties are ties in the answer."""
        lengths = self._length * _length(values)
        cosine = math.sumprod(self._axis, values) / lengths if lengths else 0.0
        return max(-1.0, min(1.0, cosine)) if math.isfinite(cosine) else 0.0


def _length(values: Sequence[float]) -> float:
    return math.sqrt(math.sumprod(values, values))
