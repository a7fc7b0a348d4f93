"""What names drivers before any setting of ours does: the variables that existing systems already set.

Apart from the settings, which the commands that ask a service can do without (0.2 s to import).
"""

from __future__ import annotations

import os
from typing import Any

CONFIG_FILE = "memrelay.toml"
POSTGRES = ("postgresql://", "postgres://")
SEED_NAMES = {
    "MEMORY_VECTOR_DB_FACTORY": ("custom", "factory"),
    "REDIS_URL": ("redis", "url"),
    "WEAVIATE_URL": ("weaviate", "url"),
    "DATABASE_URL": ("pgvector", "url"),
}
"""The variables that existing systems already set, each with our driver and its setting. Where there is a
factory, it is to override Redis: it comes first."""
OURSELVES = "memrelay."
"""What runs agent-memory-server on us, in an environment that is ours too, is no store for us."""


def seed_drivers() -> dict[str, dict[str, Any]]:
    """By the variables in ``SEED_NAMES``, as far as they mean us."""
    return {
        name: {setting: os.environ[variable]}
        for variable, (name, setting) in SEED_NAMES.items()
        if variable in os.environ and _means_a_driver(variable, os.environ[variable])
    }


def _means_a_driver(variable: str, value: str) -> bool:
    """``DATABASE_URL`` where it names PostgreSQL; a factory, unless it is our own."""
    if variable == "DATABASE_URL":
        return value.startswith(POSTGRES)
    return not value.startswith(OURSELVES)
