"""What only reads the file. Blocking: runs in the driver's own thread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from backends.sqlite.conditions import Sql, necessary
from backends.sqlite.schema import find_scope, reading, texts_of
from memrelay.driver import Query
from memrelay.errors import Permanent
from memrelay.filters import Filter, matches
from memrelay.types import Entry, Hit, Memory, Page, Scope, memory_from_json

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
    return {
        id: memory_from_json(record, source=scope.source, version=version)
        for id, version, record in rows
    }


def scan(connection: apsw.Connection, scope: Scope, cursor: str | None, limit: int) -> Page:
    """A cursor is the version and id of the last entry of its page."""
    rows = connection.execute(
        "SELECT id, version, digest FROM memories "
        "WHERE scope = ? AND (version, id) > (?, ?) ORDER BY version, id LIMIT ?",
        (find_scope(connection, scope), *_position(cursor), limit + 1),
    )
    entries = [Entry(*row) for row in rows]
    if len(entries) <= limit:
        return Page(entries, None)
    last = entries[limit - 1]
    return Page(entries[:limit], f"{last.version}:{last.id}")


def _position(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return -1, ""
    version, colon, id = cursor.partition(":")
    if not colon or not version.isdecimal():
        raise Permanent(f"not a cursor of this driver: {cursor!r}", code="cursor")
    return int(version), id


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
        return sum(
            matches(node, memory_from_json(record, source=scope.source, version=version))
            for version, record in rows
        )


def search(connection: apsw.Connection, scope: Scope, query: Query) -> list[Hit]:
    """The best rows by the necessary condition, then all of them if the filter turned too many down."""
    with reading(connection):
        number = find_scope(connection, scope)
        if number is None:
            return []
        ranking = _semantic(number, query) if query.mode == "semantic" else _keyword(number, query)
        if ranking is None:
            return []
        first = query.top_k if query.filter is None else 4 * query.top_k + 100
        for limit in (first, -1):
            rows = connection.execute(f"{ranking.text} LIMIT {limit}", ranking.values).fetchall()
            hits = list(_hits(connection, scope.source, query, rows))
            if len(hits) == query.top_k or len(rows) != limit:
                break
        return hits


def _semantic(number: int, query: Query) -> Sql:
    """Rows with cosines; clamped before they are ordered, so that ties are ties in the answer."""
    assert query.vector is not None
    where = necessary(query.filter)
    text = (
        "SELECT m.row, m.id, "
        "max(-1.0, min(1.0, 1.0 - coalesce(vec_distance_cosine(m.vector, ?), 1.0))) AS score "
        f"FROM memories m WHERE {_LIVE} AND {where.text} ORDER BY score DESC, m.id"
    )
    return Sql(text, (query.vector, number, query.now, *where.values))


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
    connection: apsw.Connection, source: str, query: Query, rows: Sequence[tuple[Any, ...]]
) -> Iterator[Hit]:
    """The first ``top_k`` rows that pass the exact filter."""
    left = query.top_k
    for row, _, score in rows:
        if left == 0 or (query.min_score is not None and score < query.min_score):
            return
        version, record, vector = connection.execute(_RECORD, (row,)).get
        memory = memory_from_json(record, source=source, version=version)
        if matches(query.filter, memory):
            left -= 1
            yield Hit(memory, score, vector if query.include_vector else None)
