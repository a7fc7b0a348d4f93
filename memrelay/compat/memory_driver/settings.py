"""``Settings``: the environment variables of the document, and ours beside them, read when it is made."""

from __future__ import annotations

import os

from memrelay.errors import ConfigError


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{name}: give a number that is not negative, such as {default:g}")
    return value


def _names(name: str) -> tuple[str, ...]:
    parts = (part.strip().lower() for part in os.environ.get(name, "").split(","))
    return tuple(part for part in parts if part)


class Settings:
    """Every setting of the memory drivers. A variable that is empty counts as absent."""

    def __init__(self) -> None:
        self.MEMORY_DRIVER: str = (os.environ.get("MEMORY_DRIVER") or "automem").lower()
        """Which driver ``get_memory_driver`` gives."""
        self.DATABASE_URL: str | None = os.environ.get("DATABASE_URL") or None
        """PostgreSQL, for ``pgvector``."""
        self.MEMORY_DATABASE_SCHEMA: str = os.environ.get("MEMORY_DATABASE_SCHEMA") or "public"
        """Where ``memories`` and ``global_knowledge`` are in it."""
        self.MEMORY_EMBEDDING: str | None = os.environ.get("MEMORY_EMBEDDING") or None
        """``local/wordllama`` if absent; for ``pgvector`` whatever its tables were filled with."""
        self.MEMORY_SQLITE_PATH: str = (
            os.environ.get("MEMORY_SQLITE_PATH") or ".memrelay/memories.db"
        )
        self.REDIS_URL: str = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
        self.WEAVIATE_URL: str = os.environ.get("WEAVIATE_URL") or "http://127.0.0.1:8080"
        self.WEAVIATE_GRPC_PORT: str = os.environ.get("WEAVIATE_GRPC_PORT") or "50051"
        self.WEAVIATE_API_KEY: str | None = os.environ.get("WEAVIATE_API_KEY") or None
        self.AUTOMEM_ENDPOINT: str = os.environ.get("AUTOMEM_ENDPOINT") or "http://127.0.0.1:8001"
        self.AUTOMEM_API_TOKEN: str | None = os.environ.get("AUTOMEM_API_TOKEN") or None
        self.MEMRELAY_SOURCE: str = os.environ.get("MEMRELAY_SOURCE") or "default"
        """For ``relay``, beside the SDK's own ``MEMRELAY_URL`` and ``MEMRELAY_API_KEY``."""
        self.MEMORY_HYBRID_DRIVERS: tuple[str, ...] = _names("MEMORY_HYBRID_DRIVERS")
        """For ``hybrid``: names with commas between them, the primary first, then its replicas."""
        self.MEMORY_HYBRID_READS: tuple[str, ...] = _names("MEMORY_HYBRID_READS")
        """The order in which these are read, if it is another one: a fast replica before the primary."""
        self.MEMORY_HYBRID_OUTBOX: str = (
            os.environ.get("MEMORY_HYBRID_OUTBOX") or ".memrelay/hybrid-outbox.db"
        )
        """The file that keeps what a replica did not take."""
        self.MEMORY_CACHE_SECONDS: float = _number("MEMORY_CACHE_SECONDS", 0)
        """How long the answer to a query is kept; 0: not at all."""
        self.MEMORY_CACHE_ENTRIES: int = int(_number("MEMORY_CACHE_ENTRIES", 1024))
        """How many answers are kept."""
