from __future__ import annotations

import pytest

from memrelay.fusion import VECTOR_WEIGHT, fuse, relative
from memrelay.types import Hit, Memory


def hit(id: str, score: float, version: int = 1) -> Hit:
    return Hit(Memory(id=id, text=f"{id} at {version}", created_at=0, version=version), score)


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
