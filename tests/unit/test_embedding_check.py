"""No wrong vector passes, and one bad vector is found among many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.embedding.check import bad_positions, check_vectors
from memrelay.errors import MemrelayError, Permanent, Transient
from memrelay.types import vector_to_bytes

NAN, INFINITY = float("nan"), float("inf")
GOOD = vector_to_bytes([0.1, -0.2, 0.3])
BAD = [
    vector_to_bytes(values)
    for values in ([0, 0, 0], [NAN, 1, 1], [1, INFINITY, 1], [1e30, 1, 1], [1e-30, 0, 0], [1, 1])
]


def test_good_vectors_pass() -> None:
    check_vectors([GOOD] * 512, count=512, dimensions=3)
    check_vectors([], count=0, dimensions=3)
    assert bad_positions([GOOD] * 512, dimensions=3) == []


@pytest.mark.parametrize(
    ("vectors", "kind", "code"),
    [
        ([GOOD], Transient, "embedding_count"),
        ([GOOD] * 3, Transient, "embedding_count"),
        ([GOOD, vector_to_bytes([1, 1])], Transient, "embedding_dimension"),
        ([GOOD, GOOD[:-1]], Transient, "embedding_dimension"),
        ([GOOD, vector_to_bytes([0, 0, 0])], Permanent, "embedding_value"),
        ([vector_to_bytes([NAN, 0, 1]), GOOD], Permanent, "embedding_value"),
    ],
)
def test_what_is_wrong_decides_what_happens_next(
    vectors: list[bytes], kind: type[MemrelayError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        check_vectors(vectors, count=2, dimensions=3)
    assert caught.value.code == code


@given(st.lists(st.sampled_from([GOOD, *BAD]), max_size=40))
def test_bad_positions_are_exactly_those_of_bad_vectors(vectors: list[bytes]) -> None:
    expected = [position for position, vector in enumerate(vectors) if vector != GOOD]
    assert bad_positions(vectors, dimensions=3) == expected
