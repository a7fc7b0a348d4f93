"""The settings of an embedded installation: what the user has not named, as environment variables."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

from memrelay.embedded.ports import free_port, is_free
from memrelay.errors import ConfigError
from memrelay.seeds import CONFIG_FILE, seed_drivers

JOURNAL_DB, BROKER_DB, DRIVER_DB = 0, 1, 2


def stack_environment(data: Path, redis_port: int) -> dict[str, str]:
    """Broker, journal and drivers in ``data``, where neither environment nor file names others.

    The Redis driver is the primary, SQLite the replica.
    """
    redis = f"redis://127.0.0.1:{redis_port}"
    named = _named()
    added = {}
    if "broker_url" not in named:
        added["MEMRELAY_BROKER_URL"] = f"{redis}/{BROKER_DB}"
    if "journal_url" not in named:
        added["MEMRELAY_JOURNAL_URL"] = f"{redis}/{JOURNAL_DB}"
    if "drivers" not in named:
        stores = {
            "redis": {"url": f"{redis}/{DRIVER_DB}"},
            "sqlite": {"path": str(data / "replica.db")},
        }
        added["MEMRELAY_DRIVERS"] = json.dumps(stores)
        if "sources" not in named:
            added["MEMRELAY_SOURCES"] = json.dumps({"default": {"drivers": list(stores)}})
    return added


def known_redis_port(data: Path) -> int | None:
    """The port of the Redis in ``data``; None if none was ever started there."""
    try:
        return int(_port_file(data).read_text())
    except (OSError, ValueError):
        return None


def choose_redis_port(data: Path) -> int:
    """The known port if it is free, else a free one, which is known from then on."""
    port = known_redis_port(data)
    if port is None or not is_free(port):
        port = free_port()
        _port_file(data).write_text(f"{port}\n")
    return port


def _port_file(data: Path) -> Path:
    return data / "redis-port"


def _named() -> set[str]:
    """The settings that ``memrelay.toml``, ``MEMRELAY_*`` or the seeds' variables name."""
    path = Path(os.environ.get("MEMRELAY_CONFIG", CONFIG_FILE))
    try:
        named = set(tomllib.loads(path.read_text())) if path.is_file() else set()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    prefix = "MEMRELAY_"
    for variable in os.environ:
        if variable.upper().startswith(prefix):
            named.add(variable.upper().removeprefix(prefix).partition("__")[0].lower())
    if seed_drivers() and not path.is_file():
        named.add("drivers")
    return named
