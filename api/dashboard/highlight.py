"""Highlight: the part of a text that a query is about, in pieces of which some are its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

SHOWN = 280
LEAD = 60
LOOKED_AT = 8192
"""Characters in which a word of the query is looked for."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Piece:
    """Text as it is, to be escaped where it is shown. ``marked``: it is a word of the query."""

    text: str
    marked: bool


def highlight(text: str, query: str, length: int = SHOWN) -> list[Piece]:
    """About ``length`` characters around the first word that text and query have in common."""
    words = {word.casefold() for word in _WORD.findall(query) if len(word) > 2}
    found = [m.span() for m in _WORD.finditer(text, 0, LOOKED_AT) if m.group().casefold() in words]
    start = _start(text, found[0][0] if found else 0, length)
    end = min(len(text), start + length)
    pieces = [Piece("…", False)] if start else []
    at = start
    for begin, stop in found:
        if at <= begin < end:
            pieces += [Piece(text[at:begin], False), Piece(text[begin:stop], True)]
            at = stop
    pieces.append(Piece(text[at:end] + ("…" if end < len(text) else ""), False))
    return [piece for piece in pieces if piece.text]


def _start(text: str, first: int, length: int) -> int:
    """Where to begin so that the first word found is seen: at a word, not in it."""
    if len(text) <= length or first < length - LEAD:
        return 0
    space = text.find(" ", first - LEAD, first)
    return first - LEAD if space < 0 else space + 1
