"""Texts as words to be found by: lower case, without diacritics, as far as an index can hold them.

What a word is, is decided here and not by the server's text search configurations, which differ between
installations and take ``a/b.c`` for the name of a file.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict

MAX_WORDS = 64
"""Distinct words of a query text that are looked for."""
_LONGEST = 256
_INDEXED = 128 * 1024  # characters; the server takes 1 MiB of words and positions
_LAST = 16_383  # positions end there, and at 255 of one word
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """In their order, with repetitions; what follows the indexed length is left out."""
    folded = text[:_INDEXED].casefold()
    if not folded.isascii():
        parts = unicodedata.normalize("NFKD", folded)
        folded = "".join(c for c in parts if not unicodedata.combining(c))
    return [word for word in _WORD.findall(folded[:_INDEXED]) if len(word) <= _LONGEST]


def tsvector(text: str) -> str:
    """The words with their positions, as the server reads a ``tsvector``."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(words_of(text), start=1):
        if len(places[word]) < 255:
            places[word].append(min(place, _LAST))
    return " ".join(
        f"'{word}':{','.join(map(str, dict.fromkeys(at)))}" for word, at in places.items()
    )


def tsqueries(text: str) -> list[str]:
    """The first distinct words of a query text, each as the server reads a ``tsquery``."""
    return [f"'{word}'" for word in dict.fromkeys(words_of(text))][:MAX_WORDS]
