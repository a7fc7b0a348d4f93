"""The settings under ``drivers.<name>`` of a Redis driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from memrelay.errors import ConfigError

SCHEMES = ("redis://", "rediss://", "unix://", "redis+cluster://", "rediss+cluster://")
_MOST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``partitions``, ``directory_shards`` and ``prefix`` are fixed once a store has data."""

    url: str
    partitions: int = 16
    """Partitions for memories without a user."""
    directory_shards: int = 64
    """Shards of the id directory and of the list of partitions."""
    scatter: int = 64
    """Partitions that one search without a user may touch."""
    prefix: str = "mr"


def parse(name: str, raw: Mapping[str, Any]) -> Settings:
    """``ConfigError`` names the key that is wrong."""
    where = f"drivers.{name}"
    known = [field.name for field in fields(Settings)]
    for key in raw:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown setting; there are: {', '.join(known)}")
    url = raw.get("url")
    if not isinstance(url, str) or not url.startswith(SCHEMES):
        raise ConfigError(f"{where}.url: give an address such as redis://127.0.0.1:6379/0")
    for key in ("partitions", "directory_shards", "scatter"):
        value = raw.get(key, 1)
        if type(value) is not int or not 1 <= value <= _MOST:
            raise ConfigError(f"{where}.{key}: give a whole number from 1 to {_MOST}")
    prefix = raw.get("prefix", "mr")
    if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z0-9_:.-]{1,64}", prefix):
        raise ConfigError(f"{where}.prefix: 1 to 64 letters, digits and _ : . -")
    settings = Settings(**raw)
    if settings.scatter < settings.partitions:
        raise ConfigError(f"{where}.scatter: less than partitions, so no search could run")
    return settings
