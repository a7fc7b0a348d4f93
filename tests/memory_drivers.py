"""The memory drivers by name, each on a real server, chosen as its users choose it: by the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from memrelay import exits
from memrelay.compat.memory_driver import MemoryDriverManager
from memrelay.compat.memory_driver.migrate import main as migrate
from tests.servers import AUTOMEMS, Weaviate, automem_server

STORES = ("pgvector", "redis", "weaviate", "sqlite", "relay", "hybrid")
NAMES = (*(f"automem-{which}" for which in AUTOMEMS), *STORES)
"""A driver's name, and after a hyphen which of its servers."""
OURS = ("MEMORY_", "DATABASE_", "REDIS_", "WEAVIATE_", "AUTOMEM_", "MEMRELAY_")


@contextmanager
def clean(**given: str) -> Iterator[None]:
    """No driver is cached, and of the drivers' variables ``given`` are all that is set."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in list(os.environ):
            if variable.startswith(OURS) and not variable.startswith("MEMRELAY_TEST_"):
                patch.delenv(variable)
        for variable, text in given.items():
            patch.setenv(variable, text)
        registered = dict(MemoryDriverManager._registered)
        MemoryDriverManager.reset_cache()
        try:
            yield
        finally:
            MemoryDriverManager.reset_cache()
            MemoryDriverManager._registered.clear()
            MemoryDriverManager._registered.update(registered)


@contextmanager
def chosen(name: str, folder: Path, value: Callable[[str], Any]) -> Iterator[dict[str, str]]:
    """``MEMORY_DRIVER`` and what it needs are all that is set; tables are made. ``value``: of a fixture."""
    driver, _, which = name.partition("-")
    given = {"MEMORY_DRIVER": driver}
    with ExitStack() as stack:
        if driver == "automem":
            automem = stack.enter_context(automem_server(which))
            given |= {"AUTOMEM_ENDPOINT": automem.url, "AUTOMEM_API_TOKEN": automem.token}
        else:
            given |= variables(driver, folder, value)
        stack.enter_context(clean(**given))
        if "DATABASE_URL" in given:
            assert migrate([]) == exits.OK
        yield given


def variables(driver: str, folder: Path, value: Callable[[str], Any]) -> dict[str, str]:
    """Where its server is. PostgreSQL gets a schema of its own."""
    match driver:
        case "pgvector":
            schema = f"drivers_{uuid4().hex[:12]}"
            return {"DATABASE_URL": value("postgres_url"), "MEMORY_DATABASE_SCHEMA": schema}
        case "redis":
            return {"REDIS_URL": value("redis_url")}
        case "weaviate":
            weaviate: Weaviate = value("weaviate")
            return {"WEAVIATE_URL": weaviate.url, "WEAVIATE_GRPC_PORT": str(weaviate.grpc_port)}
        case "sqlite":
            return {"MEMORY_SQLITE_PATH": str(folder / "memories.db")}
        case "relay":
            return {"MEMRELAY_URL": value("service").url}
        case _:
            stores = variables("pgvector", folder, value) | variables("sqlite", folder, value)
            return stores | {
                "MEMORY_HYBRID_DRIVERS": "pgvector,sqlite",
                "MEMORY_HYBRID_OUTBOX": str(folder / "outbox.db"),
            }
