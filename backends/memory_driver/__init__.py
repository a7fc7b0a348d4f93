"""The memory drivers that need packages of the server: each is made without arguments, from ``Settings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.memory_driver.stores import StoreShelf
from backends.registry import load
from memrelay.compat.memory_driver.settings import Settings
from memrelay.compat.memory_driver.shelved import ShelfDriver

__all__ = ["AutoMemDriver", "PGVectorDriver", "RedisDriver", "SQLiteDriver", "WeaviateDriver"]

DEFAULT_EMBEDDING = "local/wordllama"


class _StoreDriver(ShelfDriver):
    """One of memrelay's own drivers, in this process."""

    def __init__(self, name: str, *, forks: bool = True) -> None:
        settings = Settings()
        model = settings.MEMORY_EMBEDDING or DEFAULT_EMBEDDING
        options = _options(name, settings)
        super().__init__(name, lambda: StoreShelf(name, options, model), forks=forks)


class AutoMemDriver(_StoreDriver):
    """``AUTOMEM_ENDPOINT`` and ``AUTOMEM_API_TOKEN`` say where."""

    def __init__(self) -> None:
        super().__init__("automem")


class RedisDriver(_StoreDriver):
    """``REDIS_URL`` says where."""

    def __init__(self) -> None:
        super().__init__("redis")


class SQLiteDriver(_StoreDriver):
    """``MEMORY_SQLITE_PATH`` names the file."""

    def __init__(self) -> None:
        super().__init__("sqlite")


class WeaviateDriver(_StoreDriver):
    """``WEAVIATE_URL``, ``WEAVIATE_GRPC_PORT`` and ``WEAVIATE_API_KEY`` say where.

    gRPC does not survive a fork (measured: a child of a process that had used it gets no answer).
    """

    def __init__(self) -> None:
        super().__init__("weaviate", forks=False)


class PGVectorDriver(ShelfDriver):
    """The document's tables in ``DATABASE_URL``, which ``…memory_driver.migrate`` makes."""

    def __init__(self) -> None:
        settings = Settings()
        shelf = load("backends.memory_driver.tables:TableShelf", "MEMORY_DRIVER=pgvector")
        super().__init__("pgvector", lambda: shelf(settings))


def _options(name: str, settings: Settings) -> Mapping[str, Any]:
    """What is under ``drivers.<name>`` for a service; what is not given is left out."""
    options: dict[str, dict[str, str | None]] = {
        "automem": {"url": settings.AUTOMEM_ENDPOINT, "token": settings.AUTOMEM_API_TOKEN},
        "redis": {"url": settings.REDIS_URL},
        "sqlite": {"path": settings.MEMORY_SQLITE_PATH},
        "weaviate": {
            "url": settings.WEAVIATE_URL,
            "grpc_port": settings.WEAVIATE_GRPC_PORT,
            "api_key": settings.WEAVIATE_API_KEY,
        },
    }
    return {key: value for key, value in options[name].items() if value is not None}
