"""The file: how it is opened, what tables it has, which number a scope has in it.

One table for all memories, with tombstones; one full-text table for each scope, so that keyword
statistics never mix tenants. Texts are indexed, not stored twice (``content=''``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import sqlite_vec

from memrelay.errors import Permanent, Unavailable
from memrelay.types import Scope

VERSION = 2
"""2 has its indexes; the tables are those of 1."""
BUSY_SECONDS = 5.0

_TABLES = """
CREATE TABLE IF NOT EXISTS scopes (
    scope INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    UNIQUE (namespace, source, model, dimensions)
) STRICT;
CREATE TABLE IF NOT EXISTS memories (
    row INTEGER PRIMARY KEY,
    scope INTEGER NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT,
    user_id TEXT,
    session_id TEXT,
    created_at INTEGER,
    expires_at INTEGER,
    vector BLOB,
    record BLOB,
    UNIQUE (scope, id)
) STRICT;
CREATE INDEX IF NOT EXISTS memories_by_version ON memories (scope, version, id);
DROP INDEX IF EXISTS memories_by_user;
CREATE INDEX memories_of_user ON memories (scope, user_id, id);
CREATE INDEX memories_by_expiry ON memories (scope, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX tombstones_by_version ON memories (scope, version, id) WHERE digest IS NULL AND record IS NULL;
"""
_FIND_SCOPE = "SELECT scope FROM scopes WHERE (namespace, source, model, dimensions) = (?, ?, ?, ?)"
_ADD_SCOPE = (
    "INSERT INTO scopes (namespace, source, model, dimensions) VALUES (?, ?, ?, ?) RETURNING scope"
)


def connect(path: Path) -> apsw.Connection:
    """A connection to the file, which is created with its folder if need be; safe for many at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot make the folder {path.parent}: {error.strerror}") from error
    try:
        connection = apsw.Connection(str(path))
    except apsw.CantOpenError as error:
        raise Unavailable(f"cannot open the file {path}: {error}") from error
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: apsw.Connection, path: Path) -> None:
    connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    found = connection.pragma("user_version")
    if found > VERSION:
        raise Permanent(f"{path} was written by a newer memrelay (layout {found}, not {VERSION})")
    if found < VERSION:
        with writing(connection):
            if connection.pragma("user_version") < VERSION:
                connection.execute(_TABLES)
                connection.execute(f"PRAGMA user_version = {VERSION}")


def _use_wal(connection: apsw.Connection) -> None:
    """SQLite does not wait for its busy timeout here, and several processes may start at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def writing(connection: apsw.Connection) -> Iterator[None]:
    """One write transaction; the lock is taken at its start, so that no read goes stale in it."""
    with _transaction(connection, "BEGIN IMMEDIATE"):
        yield


@contextmanager
def reading(connection: apsw.Connection) -> Iterator[None]:
    """One snapshot for several statements."""
    with _transaction(connection, "BEGIN"):
        yield


@contextmanager
def _transaction(connection: apsw.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def find_scope(connection: apsw.Connection, scope: Scope) -> int | None:
    """The number of a scope; None if nothing was ever stored for it."""
    number: int | None = connection.execute(_FIND_SCOPE, _identity(scope)).get
    return number


def ensure_scope(connection: apsw.Connection, scope: Scope) -> int:
    """The number of a scope, which is made if it is new; call it within ``writing``."""
    number = find_scope(connection, scope)
    if number is None:
        number = int(connection.execute(_ADD_SCOPE, _identity(scope)).get)
        connection.execute(
            f"CREATE VIRTUAL TABLE {texts_of(number)} USING fts5 (text, content='', "
            "contentless_delete=1, tokenize='unicode61 remove_diacritics 2')"
        )
    return number


def texts_of(number: int) -> str:
    """The name of a scope's full-text table."""
    return f"texts_{number}"


def _identity(scope: Scope) -> tuple[str, str, str, int]:
    return scope.namespace, scope.source, scope.space.model, scope.space.dimensions
