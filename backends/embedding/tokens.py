"""How long a text is for a model, by a cheap bound: three bytes of UTF-8 for each token.

English has four to five bytes to a token, so calls stay below a provider's limit. Text that is
denser than three bytes (base64, emoji) is underestimated; a provider that refuses the call for it
answers with an error that is bisected like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BYTES_PER_TOKEN = 3


def estimate_tokens(text: str) -> int:
    """At least 1."""
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def clip(text: str, max_tokens: int) -> str:
    """``text``, cut at the end so that it is estimated at ``max_tokens`` at most."""
    longest = max_tokens * BYTES_PER_TOKEN - 1
    if 4 * len(text) <= longest:  # no character of UTF-8 is longer than four bytes
        return text
    return text.encode()[:longest].decode(errors="ignore")


def split(texts: Sequence[str], *, inputs: int, tokens: int) -> Iterator[Sequence[str]]:
    """``texts`` in order, in parts of at most ``inputs`` texts and ``tokens`` estimated tokens.

    A text that is longer than ``tokens`` is a part of its own.
    """
    start, used = 0, 0
    for index, text in enumerate(texts):
        cost = estimate_tokens(text)
        if index > start and (index - start == inputs or used + cost > tokens):
            yield texts[start:index]
            start, used = index, 0
        used += cost
    if start < len(texts):
        yield texts[start:]
