"""Ranking by words for stores that cannot: BM25 over the memories of one user."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence

from memrelay.types import Memory

_K1 = 1.2
_B = 0.75


def best_by_words(memories: Sequence[Memory], query: str, top_k: int) -> list[tuple[Memory, float]]:
    """At most ``top_k`` that share a word with ``query``, by descending score, ties by id."""
    wanted = set(_words(query))
    texts = [(memory, Counter(_words(memory.text))) for memory in memories]
    mean = sum(words.total() for _, words in texts) / max(1, len(texts))
    weights = {word: _weight(word, texts) for word in wanted}
    scored = [(_score(words, weights, mean), memory) for memory, words in texts]
    best = heapq.nsmallest(
        top_k, (pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].id)
    )
    return [(memory, score) for score, memory in best]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _weight(word: str, texts: Sequence[tuple[Memory, Counter[str]]]) -> float:
    holding = sum(word in words for _, words in texts)
    return math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))


def _score(words: Counter[str], weights: dict[str, float], mean: float) -> float:
    length = _K1 * (1 - _B + _B * words.total() / mean) if mean else 0.0
    return sum(
        weight * words[word] * (_K1 + 1) / (words[word] + length)
        for word, weight in weights.items()
        if words[word]
    )
