"""The factory of a store, found when a process starts, called when the driver is opened.

What is wrong with it is said in agent-memory-server's words.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from agent_memory_server.memory_vector_db import MemoryVectorDatabase

from backends.custom.embeddings import GivenEmbeddings
from memrelay.errors import ConfigError, Unavailable

OURSELVES = "memrelay."


@dataclass(frozen=True, slots=True)
class Factory:
    """``found`` is what ``path`` names; ``where`` is the setting that does."""

    path: str
    where: str
    found: Any

    @classmethod
    def find(cls, path: str, where: str) -> Factory:
        """``ConfigError`` in one line if there is nothing at ``path``."""
        module_path, dot, name = path.rpartition(".")
        if not dot:
            text = f"Invalid factory path: {path}. Must be in format 'module.function'"
            raise ConfigError(f"{where}: {text}")
        if path.startswith(OURSELVES):
            raise ConfigError(f"{where}: {path} stores in memrelay, which cannot be its own store")
        try:
            module = import_module(module_path)
        except Exception as error:  # the edge to a stranger's code: whatever its import does
            text = f"Failed to import factory function {path}: {error}"
            raise ConfigError(f"{where}: {text}") from error
        try:
            return cls(path, where, getattr(module, name))
        except AttributeError as error:
            text = f"Function {name} not found in module {module_path}: {error}"
            raise ConfigError(f"{where}: {text}") from None

    def make(self, embeddings: GivenEmbeddings) -> MemoryVectorDatabase:
        """The store, which embeds with ``embeddings``.

        ``ConfigError`` if it is none, ``Unavailable`` if the factory fails: that may pass.
        """
        if isinstance(self.found, MemoryVectorDatabase):
            return self._rewired(self.found, embeddings)
        try:
            made = self.found(embeddings)
        except Exception as error:  # the edge to a stranger's code
            text = f"Error calling factory function {self.path}: {error}"
            raise Unavailable(f"{self.where}: {text}") from error
        if isinstance(made, MemoryVectorDatabase):
            return made
        if inspect.iscoroutine(made):
            made.close()  # of an async def: it would complain that nobody awaited it
        raise ConfigError(
            f"{self.where}: Factory function {self.path} must return MemoryVectorDatabase, "
            f"got {type(made)}"
        )

    def _rewired(self, store: Any, embeddings: GivenEmbeddings) -> MemoryVectorDatabase:
        if not hasattr(store, "embeddings"):
            raise ConfigError(
                f"{self.where}: {self.path} is a MemoryVectorDatabase without the attribute "
                "embeddings, so that it cannot be given our vectors; name a function that makes it"
            )
        store.embeddings = embeddings
        return store
