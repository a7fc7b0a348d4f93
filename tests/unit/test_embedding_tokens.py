"""Splitting by texts and tokens, and cutting what is too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.embedding.tokens import clip, estimate_tokens, split

TEXTS = st.lists(st.text(max_size=60), max_size=30)


@given(TEXTS, st.integers(1, 8), st.integers(1, 40))
def test_parts_keep_every_text_in_order_within_both_bounds(
    texts: list[str], inputs: int, tokens: int
) -> None:
    parts = list(split(texts, inputs=inputs, tokens=tokens))
    assert [text for part in parts for text in part] == texts
    for part in parts:
        assert 1 <= len(part) <= inputs
        assert len(part) == 1 or sum(map(estimate_tokens, part)) <= tokens


def test_texts_that_fit_are_one_part() -> None:
    assert list(split(["a"] * 2048, inputs=2048, tokens=300_000)) == [["a"] * 2048]


@given(st.text(), st.integers(1, 30))
def test_a_clipped_text_is_a_beginning_that_fits(text: str, max_tokens: int) -> None:
    clipped = clip(text, max_tokens)
    assert text.startswith(clipped)
    assert estimate_tokens(clipped) <= max_tokens
    if estimate_tokens(text) <= max_tokens:
        assert clipped == text


def test_a_clipped_text_loses_no_more_than_it_must() -> None:
    assert clip("a" * 100, 10) == "a" * 29
    assert clip("é" * 100, 10) == "é" * 14
