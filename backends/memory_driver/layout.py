"""What the document's tables look like in this database: the types of their columns, their dimensions."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from backends.pgvector.conditions import Sql
from backends.pgvector.connections import Connections
from memrelay.compat.memory_driver.record import KINDS, Kind
from memrelay.errors import ConfigError

COMMON = ("id", "content", "tags", "metadata", "created_at", "embedding")
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "memories": (*COMMON, "user_id", "conversation_id"),
    "global_knowledge": (*COMMON, "category", "title", "doc_id"),
}
MIGRATE = "python -m memrelay.compat.memory_driver.migrate"
ITERATIVE = (0, 8)
_NUMBERS = ("smallint", "integer", "bigint")
_BITS = {"smallint": 15, "integer": 31, "bigint": 63}

_EXTENSION = """
SELECT n.nspname::text, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'vector'
"""
_TABLES = """
SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL), a.atttypmod
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.oid IN (to_regclass('memories'), to_regclass('global_knowledge'))
    AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One of the two tables. ``types`` are as SQL names them, without lengths: a cast to one would cut."""

    kind: Kind
    types: dict[str, str]
    dimensions: int
    iterates: bool
    """Whether a search by an index goes on until it has found enough: pgvector 0.8 and above."""

    @property
    def numbered(self) -> bool:
        """Whether the table hands out ids by itself."""
        return self.types["id"] in _NUMBERS

    def fits(self, column: str, value: str) -> bool:
        """Whether ``value`` can be in this column at all."""
        kind = self.types[column]
        if kind in _NUMBERS:
            return _is_number(value, _BITS[kind])
        return kind != "uuid" or _is_uuid(value)

    def equals(self, column: str, value: str) -> Sql:
        return Sql(f"{column} = %s::{self.types[column]}", (value,))

    def above(self, column: str, value: str) -> Sql:
        return Sql(f"{column} > %s::{self.types[column]}", (value,))


async def read_tables(connections: Connections) -> dict[Kind, Table]:
    """Both tables; ``ConfigError`` says what is missing, and what to do.

    pgvector may be in a schema of its own: it is on the search path from then on.
    """
    [extension, columns] = await connections.run(Sql(_EXTENSION), Sql(_TABLES))
    if not extension:
        raise ConfigError('type "vector" does not exist: CREATE EXTENSION vector; or ' + MIGRATE)
    [(schema, version)] = extension
    quoted = schema.replace('"', '""')
    connections.always["search_path"] += f', "{quoted}"'
    iterates = tuple(int(part) for part in version.split(".")[:2]) >= ITERATIVE
    types: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    dimensions: dict[str, int] = {}
    for table, column, kind, modifier in columns:
        types[table][column] = kind
        if column == "embedding":
            dimensions[table] = modifier
    return {kind: _table(kind, types[kind], dimensions.get(kind, -1), iterates) for kind in KINDS}


def _table(kind: Kind, types: dict[str, str], dimensions: int, iterates: bool) -> Table:
    if not types:
        raise ConfigError(f"there is no table {kind} in this database: {MIGRATE}")
    missing = [column for column in COLUMNS[kind] if column not in types]
    if missing:
        raise ConfigError(f"the table {kind} has no column {', '.join(missing)}")
    if not types["embedding"].endswith("vector") or dimensions < 1:
        raise ConfigError(f"{kind}.embedding is not a vector with a declared number of dimensions")
    return Table(kind, types | {"embedding": "vector"}, dimensions, iterates)


def _is_number(value: str, bits: int) -> bool:
    digits = re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII)
    return digits is not None and -(2**bits) <= int(value) < 2**bits


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
