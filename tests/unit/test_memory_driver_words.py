"""Ranking by words where a store has no search by words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.memory_driver.words import best_by_words
from memrelay.types import Memory


def memories(*texts: str) -> list[Memory]:
    return [Memory(id=f"{n:03}", text=text, created_at=0) for n, text in enumerate(texts)]


def found(texts: list[str], query: str, top_k: int = 10) -> list[str]:
    return [memory.text for memory, _ in best_by_words(memories(*texts), query, top_k)]


def test_only_what_shares_a_word_is_found() -> None:
    texts = ["a red door", "a blue window", "RED!"]
    assert set(found(texts, "red")) == {"a red door", "RED!"}
    assert found(texts, "green") == []
    assert found([], "red") == []
    assert found(texts, "?!") == []


def test_rare_words_count_more_than_frequent_ones() -> None:
    texts = ["the cat", "the dog", "the bird", "zebra"]
    assert found(texts, "the zebra")[0] == "zebra"


def test_more_of_the_words_count_more() -> None:
    assert found(["router", "router password", "password"], "router password")[0] == (
        "router password"
    )


def test_ties_are_in_the_order_of_ids_and_no_more_than_asked_for() -> None:
    ranked = best_by_words(memories(*["same"] * 5), "same", 3)
    assert [memory.id for memory, _ in ranked] == ["000", "001", "002"]


@given(st.lists(st.text(max_size=20), max_size=8), st.text(max_size=20), st.integers(1, 5))
def test_scores_are_positive_and_descend(texts: list[str], query: str, top_k: int) -> None:
    ranked = best_by_words(memories(*texts), query, top_k)
    scores = [score for _, score in ranked]
    assert len(ranked) <= top_k
    assert all(score > 0 for score in scores)
    assert scores == sorted(scores, reverse=True)
