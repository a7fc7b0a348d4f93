"""The custom driver: a store that somebody wrote for agent-memory-server, by the factory that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from backends.custom.driver import CustomDriver
from backends.custom.factory import Factory
from memrelay.driver import Driver
from memrelay.options import Options, parse_options

__all__ = ["CustomDriver", "create"]


class Settings(Options):
    """``factory`` is ``module.function``: the function takes embeddings, returns a MemoryVectorDatabase.

    The name of such an object will do too, if it keeps its embeddings as ``embeddings``.
    """

    factory: Annotated[str, Field(examples=["my_backends.create_my_backend"])]


def create(name: str, settings: Mapping[str, Any]) -> Driver:
    """The driver of the store that ``factory`` makes when opened; ``ConfigError`` if there is none."""
    where = f"drivers.{name}"
    options = parse_options(Settings, where, settings)
    return CustomDriver(name, Factory.find(options.factory, f"{where}.factory"))
