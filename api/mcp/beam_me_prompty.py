"""BeamMePrompty's six memory tools, verbatim, on the keys of our sources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from api.mcp.relay import Asked, relay_of
from api.mcp.tools import Toolset
from memrelay.compat.beam_me_prompty import TOOLS, AsyncMemoryTools

DECLARED = {tool["function"]["name"]: tool["function"] for tool in TOOLS}


async def memory_list_sources(asked: Asked) -> str:
    async with _tools(asked) as tools:
        return await tools.memory_list_sources()


async def memory_store(
    asked: Asked,
    key: str,
    value: Any,
    metadata: dict[str, Any] | None = None,
    memory_source: str | None = None,
) -> dict[str, Any]:
    async with _tools(asked) as tools:
        return await tools.memory_store(key, value, metadata, memory_source)


async def memory_retrieve(
    asked: Asked, key: str, memory_source: str | None = None
) -> dict[str, Any]:
    async with _tools(asked) as tools:
        return await tools.memory_retrieve(key, memory_source)


async def memory_search(
    asked: Asked, query: dict[str, Any] | str, limit: int = 10, memory_source: str | None = None
) -> dict[str, Any]:
    async with _tools(asked) as tools:
        return await tools.memory_search(query, limit, memory_source)


async def memory_delete(asked: Asked, key: str, memory_source: str | None = None) -> dict[str, Any]:
    async with _tools(asked) as tools:
        return await tools.memory_delete(key, memory_source)


async def memory_list_keys(
    asked: Asked, pattern: str | None = None, limit: int = 100, memory_source: str | None = None
) -> dict[str, Any]:
    async with _tools(asked) as tools:
        return await tools.memory_list_keys(pattern, limit, memory_source)


@asynccontextmanager
async def _tools(asked: Asked) -> AsyncIterator[AsyncMemoryTools]:
    async with relay_of(asked) as relay:
        yield AsyncMemoryTools(relay)


TOOLSET = Toolset(
    reads=(
        memory_list_sources,
        memory_retrieve,
        memory_search,
        memory_list_keys,
    ),
    adds=(),
    changes=(
        memory_store,
        memory_delete,
    ),
    names={},
    declared=DECLARED,
)
