"""Semantic search, exact: AutoMem's own vectors are of its own model, so we compare ours ourselves."""

from __future__ import annotations

from collections.abc import Sequence

from backends.automem.connection import Connection
from backends.automem.listing import confirmed, live, newest
from backends.automem.reads import passing
from backends.automem.rows import Row
from memrelay.cosine import Cosine
from memrelay.driver import Query
from memrelay.errors import Unsupported
from memrelay.filters import Filter
from memrelay.types import Hit, Scope, vector_from_bytes


async def search(connection: Connection, scope: Scope, query: Query) -> Sequence[Hit]:
    """Scores of all that the filter may leave, then the memories of the best."""
    if query.mode != "semantic" or query.vector is None:
        raise Unsupported("AutoMem has no keyword search whose order is a promise", code="keyword")
    scoring = Scoring(scope, query, query.vector)
    scores = await newest(live(connection, scope, query.filter), scoring.score)
    best = sorted((-score, id) for id, score in scores.items() if score is not None)
    ids = (id for _, id in best)
    hits = await confirmed(connection, scope, ids, scoring.hit, query.top_k)
    return sorted(hits, key=lambda hit: (-hit.score, hit.memory.id))


class Scoring:
    """Judges rows for one query."""

    def __init__(self, scope: Scope, query: Query, vector: bytes) -> None:
        self._scope = scope
        self._query = query
        self._filter: Filter | None = query.filter
        self._cosine = Cosine(vector)

    def score(self, row: Row) -> float | None:
        """None if the row is no hit."""
        hit = self.hit(row)
        return None if hit is None else hit.score

    def hit(self, row: Row) -> Hit | None:
        vector = row.vector_bytes(self._scope)
        if vector is None:
            return None
        score = self._cosine(vector_from_bytes(vector))
        if self._query.min_score is not None and score < self._query.min_score:
            return None
        memory = passing(row, self._scope, self._filter)
        if memory is None or memory.expired(self._query.now):
            return None
        return Hit(memory, score, vector if self._query.include_vector else None)
