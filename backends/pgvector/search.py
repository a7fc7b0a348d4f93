"""Searches: exact by comparing with every vector that the filter leaves, or by an index and then checked.

An index of vectors (indexes.py) is asked only in scopes that have outgrown ``exact_rows``, and only where
the filter names no user, session or id. What it gives is ordered by the exact cosine and passes the exact
filter, but may miss a near vector. Where few of the candidates that it keeps in sight are of the scope and
pass, every vector is compared after all. To go on through the index for more of them (iterative scans) took
longer than that over 100,000 memories, and where one in 100 passes it missed one of 20.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backends.pgvector.binary import from_vector
from backends.pgvector.conditions import Sql, necessary
from backends.pgvector.connections import Rows
from backends.pgvector.indexes import IS_VALID, Builder, can_have, index_name, indexed
from backends.pgvector.layout import Place
from backends.pgvector.settings import Settings
from backends.pgvector.table import UNEXPIRED, Table
from backends.pgvector.words import tsqueries
from memrelay.driver import Query
from memrelay.errors import Permanent
from memrelay.filters import Filter, matches, required_values
from memrelay.types import Hit, Scope, Space, read_memory, vector_from_bytes

SIZE_SECONDS = 60.0
"""How long it is taken for known whether a scope is large and has an index."""
GROWTH = 8
"""How many more rows are read when the filter turned down too many."""
NARROW = ("id", "user_id", "session_id")
TRIES = ((400, 20), (1000, 50))
"""Candidates that HNSW keeps in sight, and lists of 100 or more that ivfflat looks into. With 200 candidates
recall@10 of 23,495 texts was below 0.99; 1,000 is the bound of HNSW."""
_SCORE = "greatest(-1.0, least(1.0, 1.0 - coalesce(nullif({distance}, 'NaN'), 1.0)))"
# Materialized, so that rows come in the index's own order; it is nearly that of the distances.
_NEAR = f"""
WITH near AS MATERIALIZED (
    SELECT m.id, m.version, m.record, m.vector <=> %s::vector AS distance
    FROM {{memories}} m WHERE {UNEXPIRED} AND {{where}} ORDER BY {{order}} LIMIT %s
)
SELECT id, version, record, {_SCORE.format(distance="distance")} AS score
FROM near ORDER BY score DESC, id
"""
# Ordered by an expression that no index has.
_EXACT = f"""
SELECT m.id, m.version, m.record, {_SCORE.format(distance="(m.vector <=> %s::vector)")} AS score
FROM {{memories}} m WHERE {UNEXPIRED} AND m.vector IS NOT NULL AND {{where}}
ORDER BY score DESC, m.id LIMIT %s
"""
# ts_rank knows nothing of how rare a word is: each word counts by its share in what was found by any.
_KEYWORD = f"""
WITH found AS MATERIALIZED (
    SELECT m.row, m.id, w.words FROM {{words}} w JOIN {{memories}} m ON m.row = w.row
    WHERE w.scope = {{scope}} AND w.words @@ %s::tsquery AND {UNEXPIRED} AND {{where}}
), asked AS MATERIALIZED (
    SELECT q.word::tsquery AS word, ln(1.0 + (SELECT count(*) FROM found)::float8 / count(*)) AS weight
    FROM unnest(%s::text[]) q (word) JOIN found f ON f.words @@ q.word::tsquery GROUP BY q.word
), best AS MATERIALIZED (
    SELECT f.row, f.id, (
        SELECT sum(a.weight * ts_rank(f.words, a.word, 1) ORDER BY a.weight, a.word::text)
        FROM asked a WHERE f.words @@ a.word
    ) AS score
    FROM found f ORDER BY score DESC, id LIMIT %s
)
SELECT m.id, m.version, m.record, b.score FROM best b JOIN {{memories}} m ON m.row = b.row
WHERE m.scope = {{scope}} ORDER BY b.score DESC, m.id
"""
_SIZE = """
SELECT (SELECT count(*) FROM (SELECT FROM {memories} WHERE scope = {scope} LIMIT %s) AS held), ({valid})
"""
_VECTORS = "SELECT id, vector FROM {memories} WHERE scope = {scope} AND id = ANY(%s::text[])"


@dataclass(frozen=True, slots=True)
class Ranking:
    """A statement that gives (id, version, record, score) in order; its last value is the limit."""

    statement: Sql

    def limited(self, limit: int) -> Sql:
        return Sql(self.statement.text, (*self.statement.values, limit))


class Search:
    """``search`` of the contract, and which scopes are large."""

    def __init__(
        self, settings: Settings, builder: Builder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._builder = builder
        self._clock = clock
        self._by_index: dict[tuple[str, int], tuple[float, bool]] = {}

    async def run(self, table: Table, query: Query) -> list[Hit]:
        if query.mode == "keyword":
            ranking = _keyword(query)
            hits = [] if ranking is None else await _exhaust(table, query, ranking)
        else:
            hits = await self._semantic(table, query)
        return await _with_vectors(table, hits) if query.include_vector else hits

    async def _semantic(self, table: Table, query: Query) -> list[Hit]:
        size = len(query.vector or b"")
        if size != 4 * table.scope.space.dimensions:
            raise Permanent(f"a query vector of {size} bytes", code="dimension")
        if self._may_use_index(table.place, query.filter) and await self._has_index(table):
            hits = await _near(table, query)
            if hits is not None:
                return hits
        return await _exhaust(table, query, _exact(query))

    def _may_use_index(self, place: Place, node: Filter | None) -> bool:
        named = any(required_values(node, field) is not None for field in NARROW)
        return not named and can_have(place.space, self._settings.index)

    async def _has_index(self, table: Table) -> bool:
        """Whether the scope is large and its index is there; if only the former, the index is wanted."""
        key = (table.place.memories, table.place.scope)
        until, answer = self._by_index.get(key, (0.0, False))
        if until > self._clock():
            return answer
        bound, kind = self._settings.exact_rows, self._settings.index
        valid = IS_VALID.format(name=index_name(table.place, kind))
        [(size, there)] = await table.ask(Sql(_SIZE.replace("{valid}", valid), (bound + 1,)))
        large = size > bound
        if large and not there:
            self._builder.want(table.place)
        self._by_index[key] = (self._clock() + SIZE_SECONDS, bool(large and there))
        return bool(large and there)


async def _near(table: Table, query: Query) -> list[Hit] | None:
    """By the index; None if that left a doubt whether there are nearer ones.

    The index has the memories of all scopes of a space, and its last candidates are the least certain: of
    those that are left here there have to be several times as many as are asked for.
    """
    limit, passing = 3 * query.top_k + 40, 1.0
    for candidates, probes in TRIES:
        if candidates * passing < limit:
            continue
        settings = {"hnsw.ef_search": str(candidates), "ivfflat.probes": str(probes)}
        rows = await table.ask(_nearest(table.place.space, query).limited(limit), settings)
        hits = list(_hits(table.scope, query, rows))
        if len(rows) == limit:
            return hits if len(hits) == query.top_k or _cut(query, rows, limit) else None
        passing = len(rows) / candidates
    return None


async def _exhaust(table: Table, query: Query, ranking: Ranking) -> list[Hit]:
    """The best rows by the necessary condition, then more while the filter turned too many down."""
    limit = _first_limit(query)
    while True:
        rows = await table.ask(ranking.limited(limit))
        hits = list(_hits(table.scope, query, rows))
        if len(hits) == query.top_k or len(rows) < limit or _cut(query, rows, limit):
            return hits
        limit *= GROWTH


def _cut(query: Query, rows: Rows, limit: int) -> bool:
    """Whether all that comes after a full page of rows is below ``min_score``."""
    return len(rows) == limit and query.min_score is not None and rows[-1][3] < query.min_score


async def _with_vectors(table: Table, hits: list[Hit]) -> list[Hit]:
    rows = await table.ask(Sql(_VECTORS, ([hit.memory.id for hit in hits],)))
    vectors = {id: from_vector(vector) for id, vector in rows if vector is not None}
    return [Hit(hit.memory, hit.score, vectors.get(hit.memory.id)) for hit in hits]


def _first_limit(query: Query) -> int:
    """Some more than asked for, since not all that the condition leaves may pass."""
    return query.top_k if query.filter is None else 4 * query.top_k + 100


def _exact(query: Query) -> Ranking:
    where = necessary(query.filter)
    text = _EXACT.replace("{where}", where.text)
    return Ranking(Sql(text, (_spelled(query), query.now, *where.values)))


def _nearest(space: Space, query: Query) -> Ranking:
    where = necessary(query.filter)
    order = f"({indexed(space, 'm.vector')}) <=> ({indexed(space, '%s::vector')})"
    text = _NEAR.replace("{where}", where.text).replace("{order}", order)
    spelled = _spelled(query)
    return Ranking(Sql(text, (spelled, query.now, *where.values, spelled)))


def _keyword(query: Query) -> Ranking | None:
    """None if there is no word to look for."""
    words = tsqueries(query.text or "")
    if not words:
        return None
    where = necessary(query.filter)
    values = (" | ".join(words), query.now, *where.values, words)
    return Ranking(Sql(_KEYWORD.replace("{where}", where.text), values))


def _spelled(query: Query) -> str:
    assert query.vector is not None
    return str(vector_from_bytes(query.vector))


def _hits(scope: Scope, query: Query, rows: Rows) -> Iterator[Hit]:
    """The first ``top_k`` rows that pass the exact filter."""
    left = query.top_k
    for _, version, record, score in rows:
        if left == 0 or (query.min_score is not None and score < query.min_score):
            return
        memory = read_memory(record, scope, version)
        if memory is not None and matches(query.filter, memory):
            left -= 1
            yield Hit(memory, score)
