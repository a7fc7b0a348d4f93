from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from memrelay.batching import MAX_BYTES, MAX_MEMORIES, pack


def _requests(
    writes: Sequence[Sequence[bytes]],
) -> list[tuple[Sequence[bytes], Sequence[str], Sequence[str]]]:
    """Requests that delete nothing and have nothing noted."""
    return [(row, (), ()) for row in writes]


def test_small_requests_share_a_draft() -> None:
    [draft] = pack(_requests([[b"a"], [b"b", b"c"], [b"d"]]))
    assert draft.writes == [b"a", b"b", b"c", b"d"]
    assert draft.slices == [(0, 1), (1, 2), (3, 1)]
    assert draft.size == 4


def test_request_runs_on_into_the_next_draft() -> None:
    first, second = pack(_requests([[b"x"] * 500, [b"y"] * 100, [b"z"]]))
    assert (len(first.writes), len(second.writes)) == (512, 89)
    assert first.slices == [(0, 500), (500, 100)]
    assert second.slices == [(88, 1)]


def test_request_that_begins_where_a_draft_is_full_is_a_slice_of_the_next() -> None:
    first, second = pack(_requests([[b"x"] * 512, [b"y"]]))
    assert first.slices == [(0, 512)]
    assert second.slices == [(0, 1)]


def test_bytes_bound_a_draft_too() -> None:
    half = b"x" * (MAX_BYTES // 2)
    drafts = pack(_requests([[half, half, b"y"]]))
    assert [draft.size for draft in drafts] == [MAX_BYTES, 1]


def test_write_that_is_larger_than_a_draft_travels_alone() -> None:
    drafts = pack(_requests([[b"a", b"x" * (MAX_BYTES + 1), b"b"]]))
    assert [len(draft.writes) for draft in drafts] == [1, 1, 1]


@settings(derandomize=True, database=None, deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(1, 1200), st.sampled_from((1, 5000, MAX_BYTES // 3))),
        min_size=1,
        max_size=5,
    )
)
def test_drafts_hold_every_write_once_in_order_and_name_every_job(
    requests: list[tuple[int, int]],
) -> None:
    counts = [
        min(count, 3 * MAX_MEMORIES) if size == 1 else count % 7 + 1 for count, size in requests
    ]
    writes = [
        [bytes([n]) * size for _ in range(count)]
        for n, (count, (_, size)) in enumerate(zip(counts, requests, strict=True))
    ]
    drafts = pack(_requests(writes))
    assert [w for draft in drafts for w in draft.writes] == [w for many in writes for w in many]
    begins, seen = 0, []
    for draft in drafts:
        assert len(draft.writes) <= MAX_MEMORIES
        assert draft.size == sum(map(len, draft.writes)) <= MAX_BYTES
        seen += [(begins + offset, count) for offset, count in draft.slices]
        begins += len(draft.writes)
    assert seen == [(sum(counts[:n]), count) for n, count in enumerate(counts)]
