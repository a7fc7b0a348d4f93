"""What replicas have not taken yet: a file of SQLite that processes share, in the order of the writes."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from memrelay.compat.memory_driver.forks import at_work
from memrelay.compat.memory_driver.record import Found, Record, from_dict, to_dict

BUSY_SECONDS = 10.0

_TABLE = """
CREATE TABLE IF NOT EXISTS ops (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    driver TEXT NOT NULL,
    id TEXT NOT NULL,
    op TEXT NOT NULL,
    refused TEXT
);
CREATE INDEX IF NOT EXISTS ops_of ON ops (driver, refused, seq);
"""
_NOT_THERE = "INSERT INTO ops (driver, id, op) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Removal:
    """``delete(id, user_id)``."""

    id: str
    user_id: str | None


Change = Record | Removal


@dataclass(frozen=True, slots=True)
class Entry:
    """A change that a replica has to make; ``seq`` orders them."""

    seq: int
    change: Change


class Outbox:
    """Connected anew for each call, so that threads and forks have nothing in common but the file."""

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser().absolute()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLE)

    @contextmanager
    def turn(self, driver: str) -> Iterator[None]:
        """Nobody else works on what ``driver`` has to take, in this process or another."""
        lock = self._path.with_name(f"{self._path.name}.{driver}.lock")
        with at_work, lock.open("w") as file:  # a child would inherit the lock with the file
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def add(self, drivers: Sequence[str], changes: Sequence[Change]) -> None:
        rows = [(driver, change.id, _text(change)) for change in changes for driver in drivers]
        with self._connected() as connection:
            connection.executemany(_NOT_THERE, rows)

    def first(self, driver: str, limit: int) -> list[Entry]:
        """The oldest that are not done; what was refused is left out."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT seq, op FROM ops WHERE driver = ? AND refused IS NULL ORDER BY seq LIMIT ?",
                (driver, limit),
            ).fetchall()
        return [Entry(seq, _change(text)) for seq, text in rows]

    def done(self, entries: Sequence[Entry]) -> None:
        with self._connected() as connection:
            connection.executemany(
                "DELETE FROM ops WHERE seq = ?", [(entry.seq,) for entry in entries]
            )

    def refuse(self, entry: Entry, reason: str) -> None:
        """It stays, for whoever looks, and is not tried again."""
        with self._connected() as connection:
            connection.execute("UPDATE ops SET refused = ? WHERE seq = ?", (reason, entry.seq))

    def waiting(self, driver: str) -> int:
        return self._count("refused IS NULL", driver)

    def refused(self, driver: str) -> int:
        return self._count("refused IS NOT NULL", driver)

    def deleted(self, driver: str) -> set[str]:
        """Ids that ``driver`` has still to delete."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT DISTINCT id FROM ops WHERE driver = ? AND json_extract(op, '$.removal')",
                (driver,),
            ).fetchall()
        return {id for (id,) in rows}

    def _count(self, condition: str, driver: str) -> int:
        with self._connected() as connection:
            [count] = connection.execute(
                f"SELECT count(*) FROM ops WHERE driver = ? AND {condition}", (driver,)
            ).fetchone()
        return int(count)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with (
            at_work,
            closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS)) as connection,
            connection,
        ):
            yield connection


def _text(change: Change) -> str:
    if isinstance(change, Removal):
        return json.dumps({"removal": True, "id": change.id, "user_id": change.user_id})
    return json.dumps({"kind": change.kind, "record": to_dict(Found(change))})


def _change(text: str) -> Change:
    given = json.loads(text)
    if given.get("removal"):
        return Removal(given["id"], given["user_id"])
    return from_dict(given["kind"], given["record"])
