"""Answers to one query side by side: what each holds, and where it differs from that of the service."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api import search
from api.dashboard.highlight import Piece, highlight
from api.models import Mode, SearchIn
from api.problems import Problem, of
from api.search import Found
from api.state import State
from memrelay.errors import MemrelayError
from memrelay.types import Hit, Memory


@dataclass(frozen=True, slots=True)
class Answer:
    """What one search came to. ``driver`` is the only one that was asked; None for the service."""

    driver: str | None
    took_ms: float
    found: Found | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One hit. ``share`` is its score in hundredths of a full bar.

    ``moved``: how many places higher it stands than in the service's answer; None where it is not in that.
    """

    rank: int
    memory: Memory
    score: float
    share: float
    pieces: Sequence[Piece]
    moved: int | None


@dataclass(frozen=True, slots=True)
class Column:
    """One answer to be shown. ``missing``: hits of the service's answer that are not in it."""

    answer: Answer
    rows: Sequence[Row]
    missing: int

    @property
    def mode(self) -> Mode | None:
        return self.answer.found.mode if self.answer.found else None


async def ask(state: State, body: SearchIn, namespace: str) -> Answer:
    """The answer of ``POST /v1/search`` to ``body``; where that is an error, what it is."""
    driver = body.drivers[0] if body.drivers else None
    began = time.monotonic()
    found, problem = None, None
    try:
        found = await search.run(state, body, namespace, began)
    except (Problem, MemrelayError) as error:
        problem = of(error)
    return Answer(driver, 1000 * (time.monotonic() - began), found, problem)


def compare(answers: Sequence[Answer], query: str) -> list[Column]:
    """A column for each answer; the first is the one that the others are compared with."""
    first = {hit.memory.id: rank for rank, hit in enumerate(_hits(answers[0]))}
    return [_column(answer, first, query) for answer in answers]


def _hits(answer: Answer) -> Sequence[Hit]:
    return answer.found.hits if answer.found else ()


def _column(answer: Answer, first: Mapping[str, int], query: str) -> Column:
    hits = _hits(answer)
    whole = _full_bar(answer)
    rows = []
    for rank, hit in enumerate(hits):
        there = first.get(hit.memory.id)
        share = round(100 * min(max(hit.score / whole, 0.0), 1.0), 1)
        rows.append(
            Row(
                rank=rank + 1,
                memory=hit.memory,
                score=hit.score,
                share=share,
                pieces=highlight(hit.memory.text, query),
                moved=None if there is None else there - rank,
            )
        )
    missing = len(first.keys() - {hit.memory.id for hit in hits}) if answer.found else 0
    return Column(answer, rows, missing)


def _full_bar(answer: Answer) -> float:
    """The score that fills the bar: 1, but for keywords, whose scores have no upper end, the best one's."""
    if answer.found is None or answer.found.mode != "keyword":
        return 1.0
    return max((hit.score for hit in answer.found.hits), default=1.0) or 1.0
