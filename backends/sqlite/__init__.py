"""The SQLite driver: an embedded, exact, keyword-capable replica in one file of one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.sqlite.driver import SqliteDriver
from memrelay.driver import Driver
from memrelay.errors import ConfigError

__all__ = ["SqliteDriver", "create"]


def create(name: str, settings: Mapping[str, Any]) -> Driver:
    """The driver of the file ``path``, which processes may share; ``ConfigError`` if it is not named."""
    unknown = sorted(settings.keys() - {"path"})
    if unknown:
        raise ConfigError(f"drivers.{name}.{unknown[0]}: unknown setting; there is: path")
    path = settings.get("path")
    if not isinstance(path, str | Path) or not str(path):
        raise ConfigError(f"drivers.{name}.path: name the database file, such as data/memories.db")
    return SqliteDriver(name, Path(path).expanduser().absolute())
