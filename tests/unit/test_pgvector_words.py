"""Texts as words, and vectors as bytes, before a server sees them."""

from __future__ import annotations

import math

import pytest

from backends.pgvector.binary import all_finite, from_vector, to_vector
from backends.pgvector.words import MAX_WORDS, tsqueries, tsvector, words_of
from memrelay.types import vector_to_bytes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zebra, zebra! ZEBRA.", ["zebra", "zebra", "zebra"]),
        ("café ÉCLAIR Straße", ["cafe", "eclair", "strasse"]),
        ("a/b.c <d> 'e' \\f", ["a", "b", "c", "d", "e", "f"]),
        ("日本語 number3 1.5", ["日本語", "number3", "1", "5"]),
        ("😀 !? \u200b", []),
        (f"{'x' * 257} y", ["y"]),
    ],
)
def test_words_are_folded_and_never_syntax(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_word_keeps_its_places_up_to_what_the_server_counts() -> None:
    assert tsvector("b a b") == "'b':1,3 'a':2"
    assert tsvector("z " * 1000).count(",") == 254
    assert max(map(int, tsvector(" ".join(map(str, range(20_000)))).split(":")[-1].split(","))) == (
        16_383
    )


def test_a_query_asks_for_its_first_distinct_words() -> None:
    assert tsqueries("Tea or tea? OR coffee") == ["'tea'", "'or'", "'coffee'"]
    assert len(tsqueries(" ".join(f"w{n}" for n in range(500)))) == MAX_WORDS


def test_a_vector_comes_back_bit_for_bit() -> None:
    vector = vector_to_bytes([1.5, -0.1, 3e38, 1e-45])
    assert to_vector(vector)[:4] == b"\0\4\0\0"
    assert from_vector(to_vector(vector)) == vector


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_seen(bad: float) -> None:
    assert not all_finite(vector_to_bytes([1.0, bad, 2.0]))
    assert not all_finite(vector_to_bytes([math.inf, -math.inf]))
    assert all_finite(vector_to_bytes([3e38] * 4096))
