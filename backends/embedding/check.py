"""What every vector must be before a store sees it, checked for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memrelay.errors import Permanent, Transient

COUNT = "embedding_count"
DIMENSION = "embedding_dimension"
VALUE = "embedding_value"


def check_vectors(vectors: Sequence[bytes], *, count: int, dimensions: int) -> None:
    """Raise unless there are ``count`` usable float32 vectors of ``dimensions``.

    Too few or too many is ``Transient`` (the provider slipped: nothing of it can be trusted, asking
    again helps). So is another dimension: the model is not the configured one, no text is guilty of
    that. A vector that is not finite or has no length is ``Permanent``; ``bad_positions`` says which.
    """
    if len(vectors) != count:
        raise Transient(f"{len(vectors)} vectors came for {count} texts", code=COUNT)
    for vector in vectors:
        if len(vector) != 4 * dimensions:
            raise Transient(
                f"a vector has {len(vector) / 4:g} dimensions, not {dimensions}", code=DIMENSION
            )
    bad = bad_positions(vectors, dimensions=dimensions)
    if bad:
        raise Permanent(
            f"{len(bad)} of {count} vectors are not finite or zero, first at {bad[0]}", code=VALUE
        )


def bad_positions(vectors: Sequence[bytes], *, dimensions: int) -> list[int]:
    """Where ``vectors`` has another dimension, a NaN, an infinity, or no length; ascending.

    Length is computed in float32, as the stores do: what overflows or vanishes there is bad too.
    """
    size = 4 * dimensions
    bad = {position for position, vector in enumerate(vectors) if len(vector) != size}
    sound = [position for position in range(len(vectors)) if position not in bad]
    components = np.frombuffer(b"".join(vectors[position] for position in sound), dtype="<f4")
    matrix = components.reshape(len(sound), dimensions)
    with np.errstate(all="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
    unusable = np.flatnonzero(~(np.isfinite(squares) & (squares > 0)))
    return sorted(bad | {sound[index] for index in unusable})
