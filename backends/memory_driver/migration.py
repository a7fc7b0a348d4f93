"""Migrations of a database: files with ``upgrade(step)`` and ``downgrade(step)``, and a ledger of them."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
from psycopg import sql

from backends.memory_driver.connecting import connections, unreachable
from backends.memory_driver.embedding import open_embedder
from backends.pgvector.errors import LayoutLost, translate
from memrelay.compat.memory_driver.settings import Settings
from memrelay.errors import ConfigError, Unavailable

BUILT_IN = Path(__file__).parent / "migrations"
DEFAULT_EMBEDDING = "local/wordllama"
LEDGER = "memory_driver_migrations"
INDEXES = (
    ("memories", "idx_memories_embedding"),
    ("global_knowledge", "idx_knowledge_embedding"),
)
LISTS = 100
CONNECT_SECONDS = 5

_LEDGER = f"""
CREATE TABLE IF NOT EXISTS {LEDGER} (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_LOCK = f"SELECT pg_advisory_xact_lock(hashtextextended('{LEDGER}', 0))"

type Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Step:
    """What one migration works with: ``connection`` is psycopg's, in the transaction of all of them."""

    connection: Connection
    dimensions: int

    def execute(self, statements: str) -> None:
        self.connection.execute(statements.encode())

    def extension(self, name: str) -> None:
        """Create it where it is missing; ``ConfigError`` says what an administrator has to do."""
        there = "SELECT FROM pg_extension WHERE extname = %s"
        if self.connection.execute(there, (name,)).rowcount > 0:
            return
        try:
            self.connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported) as error:
            said = error.diag.message_primary
            raise ConfigError(
                f'type "{name}" does not exist ({said}): install pgvector, and have an '
                f"administrator run CREATE EXTENSION {name};"
            ) from error


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. Its name without ``.py`` is what the ledger has."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def run(self, function: str, step: Step) -> None:
        work: Callable[[Step], None] | None = getattr(self._module(), function, None)
        if work is None:
            raise ConfigError(f"{self.path} has no {function}(step)")
        work(step)

    def _module(self) -> ModuleType:
        spec = spec_from_file_location(f"memory_driver_migration_{self.name}", self.path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def migrations(folder: Path | None) -> list[Migration]:
    """Ours, and those of ``folder``, by name; one of theirs takes the place of ours of that name.

    A file counts if it has an ``upgrade`` of one argument: Alembic's have none, and none is imported.
    """
    found = {path.name: path for path in BUILT_IN.glob("*.py") if _is_migration(path)}
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder")
        found |= {path.name: path for path in folder.glob("*.py") if _is_migration(path)}
    return [Migration(found[name]) for name in sorted(found)]


def upgrade(settings: Settings, folder: Path | None) -> list[str]:
    """Run all that are pending, in the order of their names; which it were."""
    with _database(settings) as step:
        return _upgrade(step, migrations(folder))


def fresh(settings: Settings, folder: Path | None) -> list[str]:
    """Undo all that were applied, the last first, and run all again. What the tables held is lost."""
    known = migrations(folder)
    with _database(settings) as step:
        applied = _applied(step)
        _check_known(applied, known)
        for migration in reversed(known):
            if migration.name in applied:
                migration.run("downgrade", step)
        step.execute(f"DELETE FROM {LEDGER}")
        return _upgrade(step, known)


def status(settings: Settings, folder: Path | None) -> list[tuple[str, bool]]:
    """Each migration, and whether it was applied."""
    with _database(settings) as step:
        applied = _applied(step)
        return [(migration.name, migration.name in applied) for migration in migrations(folder)]


def index(settings: Settings) -> list[tuple[str, str]]:
    """The document's two indexes, where they are missing; what became of each.

    A table without rows gets none: an ivfflat index learns its lists from the rows that are there.
    """
    with _database(settings) as step:
        return [(name, _index(step, table, name)) for table, name in INDEXES]


def _index(step: Step, table: str, name: str) -> str:
    known = step.connection.execute("SELECT to_regclass(%s)", (name,)).fetchone()
    if known is not None and known[0] is not None:
        return "is there already"
    if step.connection.execute(f"SELECT FROM {table} LIMIT 1".encode()).rowcount == 0:
        return f"waits until {table} has rows"
    step.execute(
        f"CREATE INDEX {name} ON {table} USING ivfflat (embedding vector_cosine_ops) "
        f"WITH (lists = {LISTS})"
    )
    return "created"


def _upgrade(step: Step, known: Sequence[Migration]) -> list[str]:
    applied = _applied(step)
    pending = [migration for migration in known if migration.name not in applied]
    for migration in pending:
        migration.run("upgrade", step)
        step.connection.execute(
            f"INSERT INTO {LEDGER} (name) VALUES (%s)".encode(), (migration.name,)
        )
    return [migration.name for migration in pending]


def _applied(step: Step) -> set[str]:
    rows = step.connection.execute(f"SELECT name FROM {LEDGER}".encode()).fetchall()
    return {name for (name,) in rows}


def _check_known(applied: set[str], known: Sequence[Migration]) -> None:
    missing = applied - {migration.name for migration in known}
    if missing:
        names = ", ".join(sorted(missing))
        raise ConfigError(f"applied, but there is no file for: {names} (--path names their folder)")


@contextmanager
def _database(settings: Settings) -> Iterator[Step]:
    """One transaction with the ledger's lock: all of it, or nothing, and one at a time."""
    what = connections(settings).what
    try:
        with psycopg.connect(
            str(settings.DATABASE_URL), connect_timeout=CONNECT_SECONDS
        ) as connection:
            _prepare(connection, settings)
            yield Step(connection, _dimensions(settings))
    except psycopg.Error as error:
        ours = translate(error, what)
        if isinstance(ours, Unavailable) and not isinstance(ours, LayoutLost):
            raise unreachable(ours) from error
        raise ours from error


def _prepare(connection: Connection, settings: Settings) -> None:
    schema = settings.MEMORY_DATABASE_SCHEMA
    connection.execute(_LOCK.encode())
    extension = connection.execute(
        "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = 'vector'"
    ).fetchone()
    path = [schema, *(extension or ())]
    connection.execute("SELECT set_config('search_path', %s, false)", (", ".join(path),))
    if schema != "public":
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute(_LEDGER.encode())


def _dimensions(settings: Settings) -> int:
    async def asked() -> int:
        embedder = await open_embedder(settings.MEMORY_EMBEDDING or DEFAULT_EMBEDDING)
        await embedder.close()
        return embedder.space.dimensions

    return asyncio.run(asked())


def _is_migration(path: Path) -> bool:
    body = ast.parse(path.read_text(), str(path)).body
    return any(
        isinstance(node, ast.FunctionDef) and node.name == "upgrade" and len(node.args.args) == 1
        for node in body
    )
