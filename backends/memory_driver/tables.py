"""``TableShelf``: the document's own tables, ``memories`` and ``global_knowledge`` with ``embedding vector``.

They are not the tables of memrelay's pgvector driver, which have versions, scopes and tombstones: an
existing database of the document's users goes on as it is, whatever types its ids have. What a table hands
out as ids by itself (numbers) cannot be chosen: such a table takes no copies with ids of their own.

Users' memories are compared one by one, exactly. Documents are, up to ``EXACT_ROWS``; beyond, an index
of theirs is used if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from uuid_utils import uuid7

from backends.memory_driver.connecting import connections, unreachable
from backends.memory_driver.embedding import embed, open_embedder
from backends.memory_driver.layout import Table, read_tables
from backends.pgvector.conditions import Sql
from backends.pgvector.connections import Connections, Rows
from memrelay.compat.memory_driver.record import Found, Kind, Recall, Record
from memrelay.compat.memory_driver.settings import Settings
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError, InvalidInput, MemrelayError, Unavailable, Unsupported
from memrelay.types import vector_from_bytes

EXACT_ROWS = 20_000
PROBES = "10"
"""Lists of an ivfflat index that a search looks into: the root of the document's 100."""
MODELS = {256: "local/wordllama", 384: "sentence-transformers/all-MiniLM-L6-v2"}
"""What tables of these dimensions were filled with: ours, and the document's."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN: dict[Kind, tuple[str, ...]] = {
    "memories": ("user_id", "conversation_id"),
    "global_knowledge": ("category", "title", "doc_id"),
}


@dataclass(frozen=True, slots=True)
class _At:
    """Where we are, once connected."""

    tables: dict[Kind, Table]
    embedder: Embedder


class TableShelf:
    """``DATABASE_URL`` says where. Rows are written in one transaction: all of a ``put``, or none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connections: Connections = connections(settings)
        self._opened: _At | None = None

    async def open(self) -> None:
        try:
            with _unreachable():
                tables = await read_tables(self._connections)
            self._opened = _At(tables, await self._embedder(_dimensions(tables)))
        except BaseException:
            await self._connections.close()
            raise

    async def close(self) -> None:
        await self._connections.close()
        await self._at.embedder.close()

    async def check(self) -> dict[str, Any]:
        await self._run(Sql("SELECT 1 FROM memories LIMIT 1"))
        tables: dict[str, bool] = dict.fromkeys(self._at.tables, True)
        return {"tables": tables, "embedding": self._at.embedder.space.model}

    async def put(self, records: Sequence[Record]) -> list[Record | MemrelayError]:
        vectors = await embed(self._at.embedder, [record.content for record in records])
        statements = [
            self._insert(record, vector) for record, vector in zip(records, vectors, strict=True)
        ]
        rows = await self._run(*statements)
        return [replace(record, id=row[0][0]) for record, row in zip(records, rows, strict=True)]

    async def find(self, recall: Recall) -> list[Found]:
        table = self._at.tables[recall.kind]
        where = _conditions(table, recall)
        match recall.mode:
            case "semantic":
                rows = await self._nearest(table, recall, where)
            case "keyword":
                rows = await self._by_words(table, recall, where)
            case "recent":
                order = Sql(
                    "ORDER BY created_at DESC NULLS LAST, id DESC LIMIT %s", (recall.top_k,)
                )
                rows = await self._select(table, Sql("NULL"), where, order)
        return [Found(_record(table.kind, row), row[-1]) for row in rows]

    async def remove(self, memory_id: str, user_id: str | None) -> bool:
        table = self._at.tables["memories"]
        if not table.fits("id", memory_id):
            return False
        conditions = [table.equals("id", memory_id)]
        if user_id is not None:
            if not table.fits("user_id", user_id):
                return False
            conditions.append(table.equals("user_id", user_id))
        where = _all(conditions)
        [rows] = await self._run(
            Sql(f"DELETE FROM memories WHERE {where.text} RETURNING 1", where.values)
        )
        return bool(rows)

    async def page(self, kind: Kind, after: str | None, limit: int) -> list[Record]:
        table = self._at.tables[kind]
        where = Sql("true") if after is None else table.above("id", after)
        order = Sql("ORDER BY id LIMIT %s", (limit,))
        rows = await self._select(table, Sql("NULL"), where, order)
        return [_record(kind, row) for row in rows]

    @property
    def _at(self) -> _At:
        assert self._opened is not None, "the room opens it"
        return self._opened

    async def _embedder(self, dimensions: int) -> Embedder:
        model = self._settings.MEMORY_EMBEDDING or MODELS.get(dimensions)
        mend = "name the model that filled them in MEMORY_EMBEDDING"
        if model is None:
            raise ConfigError(f"the tables have vectors of {dimensions} dimensions: {mend}")
        embedder = await open_embedder(model)
        if embedder.space.dimensions != dimensions:
            raise ConfigError(
                f"the tables have vectors of {dimensions} dimensions, {model} makes "
                f"{embedder.space.dimensions}: {mend}"
            )
        return embedder

    async def _run(self, *statements: Sql, **settings: str) -> list[Rows]:
        with _unreachable():
            return await self._connections.run(*statements, settings=settings)

    async def _select(
        self, table: Table, score: Sql, where: Sql, order: Sql, **settings: str
    ) -> Rows:
        text = (
            f"SELECT {_columns(table.kind)}, {score.text} AS score FROM {table.kind} "
            f"WHERE {where.text} {order.text}"
        )
        values = (*score.values, *where.values, *order.values)
        [rows] = await self._run(Sql(text, values), **settings)
        return rows

    async def _nearest(self, table: Table, recall: Recall, where: Sql) -> Rows:
        [vector] = await embed(self._at.embedder, [recall.query])
        asked = _literal(vector)
        score = Sql("1 - (embedding <=> %s::vector)", (asked,))
        known = Sql(f"embedding IS NOT NULL AND {where.text}", where.values)
        distance, settings = "(embedding <=> %s::vector) + 0.0, id", dict[str, str]()
        if recall.kind == "global_knowledge" and await self._is_large(table):
            # Only a bare distance is what an index orders by.
            distance, settings = "embedding <=> %s::vector", _index_settings(table)
        order = Sql(f"ORDER BY {distance} LIMIT %s", (asked, recall.top_k))
        rows = await self._select(table, score, known, order, **settings)
        return sorted(rows, key=lambda row: (-row[-1], row[0]))

    async def _is_large(self, table: Table) -> bool:
        counted = f"SELECT count(*) FROM (SELECT FROM {table.kind} LIMIT {EXACT_ROWS + 1}) AS rows"
        [[[count]]] = await self._run(Sql(counted))
        return bool(count > EXACT_ROWS)

    async def _by_words(self, table: Table, recall: Recall, where: Sql) -> Rows:
        """By any of the words; what has more of them, and nearer together, comes first."""
        words = "replace(plainto_tsquery('simple', %s)::text, ' & ', ' | ')::tsquery"
        text = "to_tsvector('simple', content)"
        score = Sql(f"ts_rank_cd({text}, {words})", (recall.query,))
        matching = Sql(f"{text} @@ {words} AND {where.text}", (recall.query, *where.values))
        order = Sql("ORDER BY score DESC, id LIMIT %s", (recall.top_k,))
        return await self._select(table, score, matching, order)

    def _insert(self, record: Record, vector: bytes) -> Sql:
        """One row; what it conflicts with is replaced: a document of its ``doc_id``, or what has its id."""
        table = self._at.tables[record.kind]
        values: dict[str, Any] = {name: getattr(record, name) for name in _OWN[record.kind]}
        id = _id(table, record)
        if id is not None:
            values = {"id": id, **values}
        for name, value in values.items():
            if value is not None and not table.fits(name, value):
                raise InvalidInput(f"{record.kind}.{name} is {table.types[name]}, not {value!r}")
        values |= {
            "content": record.content,
            "tags": list(record.tags),
            "metadata": Jsonb(dict(record.metadata)),
            "embedding": _literal(vector),
            "created_at": _EPOCH + timedelta(microseconds=record.created_at),
        }
        return _upsert(table, values, "doc_id" if record.doc_id is not None else "id")


def _index_settings(table: Table) -> dict[str, str]:
    settings = {"ivfflat.probes": PROBES}
    if table.iterates:
        settings["ivfflat.iterative_scan"] = "relaxed_order"
    return settings


def _dimensions(tables: dict[Kind, Table]) -> int:
    [dimensions, *others] = {table.dimensions for table in tables.values()}
    if others:
        raise ConfigError("memories and global_knowledge have vectors of different dimensions")
    return dimensions


def _upsert(table: Table, values: dict[str, Any], key: str) -> Sql:
    names = ", ".join(values)
    places = ", ".join(f"%s::{table.types[name]}" for name in values)
    text = f"INSERT INTO {table.kind} ({names}) VALUES ({places})"
    if key in values:
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in values if name != "id")
        text += f" ON CONFLICT ({key}) DO UPDATE SET {changes}"
    return Sql(f"{text} RETURNING id::text", tuple(values.values()))


def _id(table: Table, record: Record) -> str | None:
    """None where the table hands out ids by itself."""
    if not table.numbered:
        # A document's need not be kept where it is no UUID: its row is found by ``doc_id``.
        free = not record.fixed_id or (record.doc_id and not table.fits("id", record.fixed_id))
        return str(uuid7()) if free else record.fixed_id
    if record.fixed_id and record.doc_id is None:
        raise Unsupported(
            f"{record.kind}.id is {table.types['id']}: the table hands out ids, and takes no others"
        )
    return None


def _conditions(table: Table, recall: Recall) -> Sql:
    conditions = []
    for name in ("user_id", "conversation_id", "category"):
        value = getattr(recall, name)
        if value is None:
            continue
        if not table.fits(name, value):
            raise InvalidInput(f"{table.kind}.{name} is {table.types[name]}, not {value!r}")
        conditions.append(table.equals(name, value))
    if recall.exclude_tags:
        excluded = list(recall.exclude_tags)
        conditions.append(Sql("NOT (coalesce(tags::text[], '{}') && %s::text[])", (excluded,)))
    return _all(conditions)


def _all(conditions: Sequence[Sql]) -> Sql:
    text = " AND ".join(condition.text for condition in conditions) or "true"
    return Sql(text, tuple(value for condition in conditions for value in condition.values))


def _columns(kind: Kind) -> str:
    own = ", ".join(f"{name}::text" for name in _OWN[kind])
    return f"id::text, content, tags::text[], metadata::jsonb, created_at::timestamptz, {own}"


def _record(kind: Kind, row: Sequence[Any]) -> Record:
    id, content, tags, metadata, created_at, *own = row[:-1]
    return Record(
        kind=kind,
        id=id,
        content=content,
        tags=tuple(tags or ()),
        metadata=metadata or {},
        created_at=0 if created_at is None else (created_at - _EPOCH) // timedelta(microseconds=1),
        **dict(zip(_OWN[kind], own, strict=True)),
    )


def _literal(vector: bytes) -> str:
    return f"[{','.join(map(repr, vector_from_bytes(vector)))}]"


@contextmanager
def _unreachable() -> Iterator[None]:
    """Raise what the document's users catch where the server is away."""
    try:
        yield
    except Unavailable as error:
        raise unreachable(error) from error
