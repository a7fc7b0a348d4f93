from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrelay.fusion import VECTOR_WEIGHT, fuse, relative, shares, weigh_recency
from memrelay.types import Hit, Memory


def hit(id: str, score: float, version: int = 1) -> Hit:
    return Hit(Memory(id=id, text=f"{id} at {version}", created_at=0, version=version), score)


NOW = 1_800_000_000_000_000
DAY = 86_400.0
WEIGHTS = st.floats(0, 1)
HALF_LIVES = st.floats(0, exclude_min=True, allow_infinity=False)
AGES = st.floats(-365 * DAY, 300 * 365 * DAY)
AGED = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=3), st.floats(-1, 1), AGES),
    unique_by=lambda one: one[0],
    max_size=8,
)


def aged(id: str, score: float, seconds: float) -> Hit:
    of = hit(id, score)
    return replace(of, memory=replace(of.memory, created_at=NOW - round(seconds * 1_000_000)))


def test_scores_are_stretched_over_their_list() -> None:
    assert relative([hit("a", 9.0), hit("b", 4.0), hit("c", 1.0)]) == {"a": 1, "b": 0.375, "c": 0}
    assert relative([]) == {}


def test_single_hit_and_equal_ones_count_one() -> None:
    assert relative([hit("a", -0.3)]) == {"a": 1.0}
    assert relative([hit("a", 2.0), hit("b", 2.0)]) == {"a": 1.0, "b": 1.0}


def test_both_halves_count_by_their_weight() -> None:
    vectors = [hit("a", 0.9), hit("b", 0.5), hit("c", 0.1)]
    keywords = [hit("b", 8.0), hit("d", 4.0)]
    fused = fuse(vectors, keywords)
    keyword_weight = 1 - VECTOR_WEIGHT
    assert [h.memory.id for h in fused] == ["b", "a", "c", "d"]
    assert [h.score for h in fused] == pytest.approx(
        [VECTOR_WEIGHT * 0.5 + keyword_weight, VECTOR_WEIGHT, 0.0, 0.0]
    )


def test_what_the_keyword_driver_does_not_hold_yet_is_scored_on_vectors_alone() -> None:
    vectors = [hit("new", 0.9), hit("old", 0.1)]
    keywords = [hit("old", 5.0)]
    assert [h.memory.id for h in fuse(vectors, keywords)] == ["old", "new"]
    [first, second] = fuse(vectors, keywords, unseen={"new"})
    assert (first.memory.id, first.score) == ("new", 1.0)
    assert second.score == pytest.approx(1 - VECTOR_WEIGHT)


def test_newer_version_of_an_id_is_shown_wherever_it_came_from() -> None:
    assert fuse([hit("a", 1.0, 1)], [hit("a", 1.0, 2)])[0].memory.version == 2
    assert fuse([hit("a", 1.0, 2)], [hit("a", 1.0, 1)])[0].memory.version == 2


def test_ties_are_ordered_by_id() -> None:
    fused = fuse([hit("b", 0.5), hit("a", 0.5)], [hit("d", 1.0), hit("c", 1.0)], weight=0.5)
    assert [h.memory.id for h in fused] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_fused_scores_lie_between_0_and_1(weight: float) -> None:
    vectors = [hit(str(n), n / 10 - 0.5) for n in range(10)]
    keywords = [hit(str(n), n * 7.0) for n in range(5, 15)]
    assert all(0 <= h.score <= 1 for h in fuse(vectors, keywords, weight=weight))


def test_keyword_scores_become_shares_of_the_best_one() -> None:
    hits = [hit("a", 8.0), hit("b", 7.0), hit("c", 0.0)]
    assert [(h.memory.id, h.score) for h in shares(hits)] == [("a", 1.0), ("b", 0.875), ("c", 0.0)]
    assert shares([]) == []


def test_scores_that_have_no_shares_are_stretched_in_their_order() -> None:
    assert [h.score for h in shares([hit("a", 3.0), hit("b", 1.0), hit("c", -1.0)])] == [1, 0.5, 0]
    assert [h.score for h in shares([hit("a", 0.0), hit("b", 0.0)])] == [1, 1]


def test_age_counts_half_after_each_half_life() -> None:
    hits = [aged("old", 0.9, 2 * DAY), aged("new", 0.8, 0), aged("day", 0.8, DAY)]
    weighed = weigh_recency(hits, now=NOW, half_life=DAY, weight=0.4)
    assert [h.memory.id for h in weighed] == ["new", "day", "old"]
    assert [h.score for h in weighed] == pytest.approx(
        [0.6 * 0.8 + 0.4, 0.6 * 0.8 + 0.4 / 2, 0.6 * 0.9 + 0.4 / 4]
    )


def test_what_is_far_more_relevant_stays_before_what_is_new() -> None:
    hits = [aged("old", 0.9, 1000 * DAY), aged("new", 0.5, 0)]
    assert [h.memory.id for h in weigh_recency(hits, now=NOW, half_life=DAY)] == ["old", "new"]


def test_what_is_created_later_than_now_has_no_age() -> None:
    hits = [aged("b", 0.5, -9 * DAY), aged("a", 0.5, 0)]
    weighed = weigh_recency(hits, now=NOW, half_life=1.0, weight=0.5)
    assert [(h.memory.id, h.score) for h in weighed] == [("a", 0.75), ("b", 0.75)]


@given(AGED, HALF_LIVES)
def test_without_weight_nothing_changes(
    listed: list[tuple[str, float, float]], half: float
) -> None:
    hits = [aged(*one) for one in listed]
    hits.sort(key=lambda h: (-h.score, h.memory.id))
    assert weigh_recency(hits, now=NOW, half_life=half, weight=0.0) == hits


@given(AGED, HALF_LIVES, WEIGHTS, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_that_of_the_driver(
    listed: list[tuple[str, float, float]], half: float, weight: float, random: Any
) -> None:
    hits = [aged(*one) for one in listed]
    weighed = weigh_recency(hits, now=NOW, half_life=half, weight=weight)
    random.shuffle(hits)
    assert weigh_recency(hits, now=NOW, half_life=half, weight=weight) == weighed
    assert all(-1 <= h.score <= 1 for h in weighed)


@given(st.floats(-1, 1), AGES, AGES, HALF_LIVES, WEIGHTS)
def test_of_two_that_are_as_relevant_the_newer_one_never_scores_less(
    score: float, one: float, other: float, half: float, weight: float
) -> None:
    hits = [aged("newer", score, min(one, other)), aged("older", score, max(one, other))]
    weighed = weigh_recency(hits, now=NOW, half_life=half, weight=weight)
    by_id = {h.memory.id: h.score for h in weighed}
    assert by_id["newer"] >= by_id["older"]
