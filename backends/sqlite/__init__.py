"""The SQLite driver: an embedded, exact, keyword-capable replica in one file of one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from backends.sqlite.driver import SqliteDriver
from memrelay.driver import Driver
from memrelay.options import Options, parse_options

__all__ = ["SqliteDriver", "create"]


def _named(path: Path) -> Path:
    if not path.name:
        raise ValueError("name the database file, such as data/memories.db")
    return path


class Settings(Options):
    """``path`` is the database file; missing folders are made."""

    path: Annotated[Path, AfterValidator(_named), Field(examples=["data/memories.db"])]
    """The file, which processes of one machine may share."""


def create(name: str, settings: Mapping[str, Any]) -> Driver:
    """The driver of the file ``path``, which processes may share; ``ConfigError`` if it is not named."""
    options = parse_options(Settings, f"drivers.{name}", settings)
    return SqliteDriver(name, options.path.expanduser().absolute())
