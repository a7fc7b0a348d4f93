"""What only reads the file. Blocking: runs in the driver's own thread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from backends.sqlite.conditions import Sql, necessary
from backends.sqlite.schema import find_scope, reading, texts_of
from memrelay.driver import Query
from memrelay.filters import Filter, matches
from memrelay.types import Hit, Memory, Scope, Space, read_memory

MAX_WORDS = 256
"""Distinct words of a query text that are looked for."""
_LIVE = "m.scope = ? AND m.record IS NOT NULL AND (m.expires_at IS NULL OR m.expires_at > ?)"
_RECORD = "SELECT version, record, vector FROM memories WHERE row = ?"
_WORD = re.compile(r"\w+")


def get(connection: apsw.Connection, scope: Scope, ids: Sequence[str]) -> dict[str, Memory]:
    marks = ", ".join("?" * len(ids))
    rows = connection.execute(
        "SELECT id, version, record FROM memories "
        f"WHERE scope = ? AND id IN ({marks}) AND record IS NOT NULL",
        (find_scope(connection, scope), *ids),
    )
    found = {id: read_memory(record, scope, version) for id, version, record in rows}
    return {id: memory for id, memory in found.items() if memory is not None}


def count(connection: apsw.Connection, scope: Scope, node: Filter | None, now: int) -> int:
    with reading(connection):
        number = find_scope(connection, scope)
        where = necessary(node)
        values = (number, now, *where.values)
        if node is None:
            found: int = connection.execute(
                f"SELECT count(*) FROM memories m WHERE {_LIVE}", values
            ).get
            return found
        rows = connection.execute(
            f"SELECT version, record FROM memories m WHERE {_LIVE} AND {where.text}", values
        )
        memories = (read_memory(record, scope, version) for version, record in rows)
        return sum(memory is not None and matches(node, memory) for memory in memories)


def find(
    connection: apsw.Connection, scope: Scope, node: Filter | None, after: str | None, limit: int
) -> list[Memory]:
    """SQLite compares texts by their UTF-8 bytes, which is the order of the code points."""
    where = necessary(node)
    begin = Sql("1") if after is None else Sql("m.id > ?", (after,))
    found: list[Memory] = []
    with reading(connection):
        rows = connection.execute(
            "SELECT version, record FROM memories m WHERE m.scope = ? AND m.record IS NOT NULL "
            f"AND {begin.text} AND {where.text} ORDER BY m.id",
            (find_scope(connection, scope), *begin.values, *where.values),
        )
        for version, record in rows:
            if len(found) == limit:
                break
            memory = read_memory(record, scope, version)
            if memory is not None and matches(node, memory):
                found.append(memory)
        rows.close()
    return found


def search(connection: apsw.Connection, scope: Scope, query: Query) -> list[Hit]:
    """The best rows by the necessary condition, then all of them if the filter turned too many down."""
    with reading(connection):
        number = find_scope(connection, scope)
        if number is None:
            return []
        if query.mode == "semantic":
            ranking = _semantic(number, scope.space, query)
        else:
            ranking = _keyword(number, query)
        if ranking is None:
            return []
        first = query.top_k if query.filter is None else 4 * query.top_k + 100
        for limit in (first, -1):
            rows = connection.execute(f"{ranking.text} LIMIT {limit}", ranking.values).fetchall()
            hits = list(_hits(connection, scope, query, rows))
            if len(hits) == query.top_k or len(rows) != limit:
                break
        return hits


def _semantic(number: int, space: Space, query: Query) -> Sql | None:
    """Rows with cosines; clamped before they are ordered, so that ties are ties in the answer.

    A vector of another dimension would fail the whole statement: it is passed over.
    """
    assert query.vector is not None
    where = necessary(query.filter)
    text = (
        "SELECT m.row, m.id, "
        "max(-1.0, min(1.0, 1.0 - coalesce(vec_distance_cosine(m.vector, ?), 1.0))) AS score "
        f"FROM memories m WHERE {_LIVE} AND length(m.vector) = ? AND {where.text} "
        "ORDER BY score DESC, m.id"
    )
    size = 4 * space.dimensions
    return Sql(text, (query.vector, number, query.now, size, *where.values))


def _keyword(number: int, query: Query) -> Sql | None:
    """Rows with BM25 scores, which SQLite gives as negative numbers; None if there is no word to look for."""
    words = list(dict.fromkeys(_WORD.findall((query.text or "").lower())))[:MAX_WORDS]
    if not words:
        return None
    where, texts = necessary(query.filter), texts_of(number)
    text = (
        f"SELECT m.row, m.id, -bm25({texts}) AS score "
        f"FROM {texts} JOIN memories m ON m.row = {texts}.rowid "
        f"WHERE {texts} MATCH ? AND {_LIVE} AND {where.text} ORDER BY score DESC, m.id"
    )
    expression = " OR ".join(f'"{word}"' for word in words)
    return Sql(text, (expression, number, query.now, *where.values))


def _hits(
    connection: apsw.Connection, scope: Scope, query: Query, rows: Sequence[tuple[Any, ...]]
) -> Iterator[Hit]:
    """The first ``top_k`` rows that pass the exact filter."""
    left = query.top_k
    for row, _, score in rows:
        if left == 0 or (query.min_score is not None and score < query.min_score):
            return
        version, record, vector = connection.execute(_RECORD, (row,)).get
        memory = read_memory(record, scope, version)
        if memory is not None and matches(query.filter, memory):
            left -= 1
            yield Hit(memory, score, vector if query.include_vector else None)
