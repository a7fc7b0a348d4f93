"""Which driver there is: by name, made once, when it is first asked for."""

from __future__ import annotations

import os
import threading
from typing import ClassVar

from memrelay.compat.memory_driver.base import BaseMemoryDriver
from memrelay.compat.memory_driver.cache import CachedMemoryDriver
from memrelay.compat.memory_driver.loading import load
from memrelay.compat.memory_driver.settings import Settings

_HERE = "memrelay.compat.memory_driver"
BUILT_IN = {
    "automem": "backends.memory_driver:AutoMemDriver",
    "pgvector": "backends.memory_driver:PGVectorDriver",
    "redis": "backends.memory_driver:RedisDriver",
    "sqlite": "backends.memory_driver:SQLiteDriver",
    "weaviate": "backends.memory_driver:WeaviateDriver",
    "relay": f"{_HERE}.relay:RelayDriver",
    "hybrid": f"{_HERE}.hybrid:HybridDriver",
}


class MemoryDriverManager:
    """All drivers of a process. Safe for many threads, and after a fork."""

    _registered: ClassVar[dict[str, type[BaseMemoryDriver]]] = {}
    _instances: ClassVar[dict[str, BaseMemoryDriver]] = {}
    _faces: ClassVar[dict[str, BaseMemoryDriver]] = {}
    _chosen: ClassVar[str | None] = None
    _lock: ClassVar[threading.RLock] = threading.RLock()  # hybrid asks for others while it is made

    @classmethod
    def register_driver(cls, name: str, driver_class: type[BaseMemoryDriver]) -> None:
        """Make ``MEMORY_DRIVER=<name>`` mean ``driver_class()``; a built-in name may be taken over."""
        if not (isinstance(driver_class, type) and issubclass(driver_class, BaseMemoryDriver)):
            raise ValueError(f"Driver {driver_class} must inherit from BaseMemoryDriver")
        with cls._lock:
            cls._registered[name.lower()] = driver_class
            cls._instances.pop(name.lower(), None)
            cls._faces.pop(name.lower(), None)

    @classmethod
    def get_driver(cls, driver_name: str | None = None) -> BaseMemoryDriver:
        """The driver of that name, or of ``MEMORY_DRIVER``; the same one each time.

        With ``MEMORY_CACHE_SECONDS`` its answers are kept for so long.
        """
        with cls._lock:
            name = (driver_name or cls._chosen or Settings().MEMORY_DRIVER).lower()
            if name not in cls._faces:
                cls._faces[name] = _cached(cls.plain_driver(name))
            return cls._faces[name]

    @classmethod
    def plain_driver(cls, name: str) -> BaseMemoryDriver:
        """The same driver without a cache before it."""
        with cls._lock:
            if name not in cls._instances:
                cls._instances[name] = cls._made(name)
            return cls._instances[name]

    @classmethod
    def choose(cls, driver_name: str | None = None) -> BaseMemoryDriver:
        """``get_driver``, and what it gives is what ``get_memory_driver`` gives from now on."""
        with cls._lock:
            name = (driver_name or cls._chosen or Settings().MEMORY_DRIVER).lower()
            driver = cls.get_driver(name)
            cls._chosen = name
            return driver

    @classmethod
    def get_available_drivers(cls) -> list[str]:
        """The names that there are."""
        return sorted(BUILT_IN | cls._registered)

    @classmethod
    def reset_cache(cls) -> None:
        """Close all drivers and forget them, and which one was chosen: for tests."""
        with cls._lock:
            drivers = list(cls._instances.values())
            cls._instances.clear()
            cls._faces.clear()
            cls._chosen = None
        for driver in drivers:
            driver.close()

    @classmethod
    def _made(cls, name: str) -> BaseMemoryDriver:
        kind = cls._registered.get(name)
        if kind is None and name not in BUILT_IN:
            available = ", ".join(cls.get_available_drivers())
            raise ValueError(f"Memory driver '{name}' not found. Available drivers: {available}")
        driver: BaseMemoryDriver = (kind or load(BUILT_IN[name], f"MEMORY_DRIVER={name}"))()
        return driver

    @classmethod
    def _forked(cls) -> None:
        cls._lock = threading.RLock()


os.register_at_fork(after_in_child=MemoryDriverManager._forked)


def _cached(driver: BaseMemoryDriver) -> BaseMemoryDriver:
    settings = Settings()
    seconds, entries = settings.MEMORY_CACHE_SECONDS, settings.MEMORY_CACHE_ENTRIES
    if seconds <= 0 or entries <= 0:
        return driver
    return CachedMemoryDriver(driver, seconds=seconds, entries=entries)


def get_memory_driver() -> BaseMemoryDriver:
    """The driver that ``MEMORY_DRIVER`` names when this is first called, or the one that was set since."""
    return MemoryDriverManager.choose()


def set_memory_driver(driver_name: str) -> BaseMemoryDriver:
    """Switch to another driver: it is what ``get_memory_driver`` gives from now on."""
    return MemoryDriverManager.choose(driver_name)
