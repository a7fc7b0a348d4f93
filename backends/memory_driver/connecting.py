"""``DATABASE_URL`` as a pool of connections, and what is raised while nobody answers there."""

from __future__ import annotations

import sys

import psycopg

from backends.pgvector.connections import Connections
from backends.pgvector.errors import LayoutLost
from backends.pgvector.settings import Settings as PoolSettings
from memrelay.compat.memory_driver.settings import Settings
from memrelay.errors import ConfigError, MemrelayError, Unavailable
from memrelay.options import parse_options

WHERE = "DATABASE_URL"


class DatabaseUnavailable(Unavailable, psycopg.OperationalError):
    """The server cannot be reached: ours, and psycopg's."""


def connections(settings: Settings) -> Connections:
    """Not connected yet, in UTC; ``ConfigError`` if ``DATABASE_URL`` is missing or none of PostgreSQL."""
    if settings.DATABASE_URL is None:
        raise ConfigError(
            f"{WHERE} is missing; give for example postgresql://user:password@localhost:5432/dbname"
        )
    raw = {"url": settings.DATABASE_URL, "schema": settings.MEMORY_DATABASE_SCHEMA}
    pool = Connections("pgvector", parse_options(PoolSettings, WHERE, raw))
    pool.always["TimeZone"] = "UTC"  # a table's times may have no zone
    return pool


def unreachable(error: Unavailable) -> MemrelayError:
    """``error`` as the document's users catch it: psycopg2's ``OperationalError`` too, if that is in use.

    Whoever catches that has imported psycopg2; we need it for nothing else.
    """
    if isinstance(error, LayoutLost):
        return ConfigError(f"{error}: python -m memrelay.compat.memory_driver.migrate")
    message = f"could not connect to server ({WHERE}): {error}"
    return _kind()(message, code=error.code)


def _kind() -> type[DatabaseUnavailable]:
    theirs = getattr(sys.modules.get("psycopg2"), "OperationalError", None)
    if theirs is None:
        return DatabaseUnavailable
    return type("DatabaseUnavailable", (DatabaseUnavailable, theirs), {})
