"""BeamMePrompty's six memory tools, verbatim: names, schemas and results, on a memrelay service.

``TOOLS`` is what a model is told, in the form of OpenAI's API; ``MemoryTools(relay).call(name, arguments)``
does what it asks for. What its documentation says holds, not what its code makes of it: tags and times
to live are kept, and ``memory_list_keys`` has a schema. Seconds here, as in its tools.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from memrelay.client import (
    AsyncMemrelay,
    AsyncSource,
    KeyEntry,
    Memrelay,
    SourceInfo,
    StoredKey,
)
from memrelay.client.blocking import Room, blocking
from memrelay.errors import InvalidInput, MemrelayError, NotFound
from memrelay.types import Json

MOST_RESULTS = 200
"""More are never searched for, whatever the limit."""


class MemoryToolError(MemrelayError):
    """A tool failed; the message is what upstream's tool says. ``reason`` is the behaviour's error."""

    code = "memory_tool"

    def __init__(self, doing: str, reason: tuple[str, ...] | str) -> None:
        super().__init__(f"Failed to {doing}: {_inspected(reason)}")
        self.reason = reason


class AsyncMemoryTools:
    """The tools, for one event loop. ``namespace``: of the keys, where agents share a source.

    Each takes ``memory_source``, the default source without it. Raises ``MemoryToolError``.
    """

    def __init__(self, relay: AsyncMemrelay, *, namespace: str | None = None) -> None:
        self._relay = relay
        self._namespace = namespace

    async def memory_list_sources(self) -> str:
        """Every source with its ``type``, query format, description and capabilities, as JSON text."""
        with _doing("list memory sources", None):
            sources = await self._relay.sources()
        return json.dumps({source.name: _info(source) for source in sources}, ensure_ascii=False)

    async def memory_store(
        self,
        key: str,
        value: Json,
        metadata: Mapping[str, Any] | None = None,
        memory_source: str | None = None,
    ) -> dict[str, Any]:
        """``{"status": "stored", "key", "metadata"}``; of ``metadata``, ``tags`` and ``ttl`` are special."""
        with _doing("store memory", memory_source):
            given = dict(metadata or {})
            tags, ttl = given.pop("tags", None), _seconds(given.pop("ttl", None))
            source = self._source(memory_source)
            stored = await source.store(key, value, ttl=ttl, tags=_tags(tags), metadata=given)
        return {"status": "stored", "key": key, "metadata": _metadata(stored)}

    async def memory_retrieve(self, key: str, memory_source: str | None = None) -> dict[str, Any]:
        """``{"found": True, "key", "value"}`` or ``{"found": False, "key", "message"}``."""
        with _doing("retrieve memory", memory_source):
            try:
                value = await self._source(memory_source).retrieve(key)
            except NotFound as error:
                if error.code != "not_found":
                    raise
                return {"found": False, "key": key, "message": f"No memory found for key: {key}"}
        return {"found": True, "key": key, "value": value}

    async def memory_search(
        self,
        query: str | Mapping[str, Any],
        limit: int = 10,
        memory_source: str | None = None,
    ) -> dict[str, Any]:
        """``{"found": n, "results": [{"key", "value", "metadata"}]}``."""
        with _doing("search memory", memory_source):
            source = self._source(memory_source)
            found = await source.search(query, limit=min(limit, MOST_RESULTS))
        results = [
            {"key": entry.key, "value": entry.value, "metadata": _metadata(entry)}
            for entry in found
        ]
        return {"found": len(results), "results": results}

    async def memory_delete(self, key: str, memory_source: str | None = None) -> dict[str, Any]:
        """``{"status": "deleted", "key"}``, whether or not it was there."""
        with _doing("delete memory", memory_source):
            await self._source(memory_source).delete(key)
        return {"status": "deleted", "key": key}

    async def memory_list_keys(
        self, pattern: str | None = None, limit: int = 100, memory_source: str | None = None
    ) -> dict[str, Any]:
        """``{"count", "keys"}``; ``pattern`` is a part of the key, or a glob over all of it."""
        with _doing("list memory keys", memory_source):
            keys = await self._source(memory_source).list_keys(pattern or "*", limit=limit)
        return {"count": len(keys), "keys": keys}

    async def call(self, name: str, arguments: Mapping[str, Any] | str = "{}") -> Any:
        """What the tool ``name`` answers; ``arguments`` as a model gives them, an object or its JSON."""
        schema = _SCHEMAS.get(name)
        if schema is None:
            raise MemoryToolError("call tool", f"there is no tool {name}")
        given = _arguments(arguments, schema)
        tool: Callable[..., Awaitable[Any]] = getattr(self, name)
        return await tool(**given)

    def _source(self, name: str | None) -> AsyncSource:
        return self._relay.source(name or "_", namespace=self._namespace)


class MemoryTools:
    """The methods of ``AsyncMemoryTools``, which see, for code without an event loop."""

    def __init__(self, relay: Memrelay, *, namespace: str | None = None) -> None:
        self._relay = relay
        self._namespace = namespace

    memory_list_sources = blocking(AsyncMemoryTools.memory_list_sources)
    memory_store = blocking(AsyncMemoryTools.memory_store)
    memory_retrieve = blocking(AsyncMemoryTools.memory_retrieve)
    memory_search = blocking(AsyncMemoryTools.memory_search)
    memory_delete = blocking(AsyncMemoryTools.memory_delete)
    memory_list_keys = blocking(AsyncMemoryTools.memory_list_keys)
    call = blocking(AsyncMemoryTools.call)

    def _behind(self) -> tuple[Room, AsyncMemoryTools]:
        room, client = self._relay._behind()
        return room, AsyncMemoryTools(client, namespace=self._namespace)


@contextmanager
def _doing(what: str, source: str | None) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        if error.code != "unknown_source":
            raise MemoryToolError(what, str(error)) from error
        raise MemoryToolError(what, ("unknown_memory_source", source or "default")) from error
    except MemrelayError as error:
        raise MemoryToolError(what, str(error)) from error


def _inspected(reason: tuple[str, ...] | str) -> str:
    """As Elixir shows it."""
    if isinstance(reason, str):
        return reason
    atoms = (f":{part}" if part.isidentifier() else f":{json.dumps(part)}" for part in reason)
    return f"{{{', '.join(atoms)}}}"


def _arguments(given: Mapping[str, Any] | str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What was given without nulls, which models send for what they leave out."""
    try:
        parsed = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        raise MemoryToolError("read arguments", "they are not JSON") from None
    if not isinstance(parsed, Mapping):
        raise MemoryToolError("read arguments", "they are no object")
    required = schema.get("required", [])
    arguments = {
        name: value for name, value in parsed.items() if value is not None or name in required
    }
    unknown = [name for name in arguments if name not in schema["properties"]]
    missing = [name for name in required if name not in arguments]
    if unknown or missing:
        raise MemoryToolError("read arguments", f"missing {missing}, unknown {unknown}")
    for name, value in arguments.items():
        _check_type(name, value, schema["properties"][name]["type"])
    return arguments


def _check_type(name: str, value: Any, wanted: str) -> None:
    """Strings and whole numbers; a value or a query may be anything."""
    fits = {
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool) and value > 0,
        "object": name != "metadata" or isinstance(value, Mapping),
    }
    if not fits[wanted]:
        raise MemoryToolError("read arguments", f"{name} is not of type {wanted}, or not above 0")


def _seconds(ttl: Any) -> float | None:
    if ttl is None or (isinstance(ttl, int | float) and not isinstance(ttl, bool) and ttl >= 0):
        return ttl
    raise InvalidInput("ttl is a number of seconds", pointer="/metadata/ttl")


def _tags(tags: Any) -> list[str]:
    if tags is None or (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        return tags or []
    raise InvalidInput("tags are a list of strings", pointer="/metadata/tags")


def _metadata(stored: StoredKey | KeyEntry) -> dict[str, Any]:
    return {
        **stored.metadata,
        "stored_at": stored.stored_at.isoformat(),
        "ttl": None if stored.ttl_ms is None else stored.ttl_ms / 1000,
        "tags": list(stored.tags),
    }


def _info(source: SourceInfo) -> dict[str, Any]:
    return {
        "type": source.drivers[0].type,
        "query_format": source.query_format,
        "datasource_description": {
            "name": source.name,
            "description": source.description,
            "default": source.default,
            "drivers": [driver.name for driver in source.drivers],
            "embedding": source.embedding,
            "dimensions": source.dimensions,
            "options": source.options,
        },
        "capabilities": source.capabilities,
    }


def _tool(
    name: str, description: str, properties: dict[str, Any], required: list[str]
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def _named(doing: str) -> dict[str, Any]:
    description = f"Name of the memory source to {doing} (the default one if left out)"
    return {"memory_source": {"type": "string", "description": description}}


TOOLS: list[dict[str, Any]] = [
    _tool(
        "memory_list_sources",
        "List the available memory sources: what each is for, how it is queried, and what it can do.",
        {},
        [],
    ),
    _tool(
        "memory_store",
        "Store information in the agent's memory, to be retrieved or searched for later.",
        {
            "key": {"type": "string", "description": "Unique identifier of the memory item"},
            "value": {"type": "object", "description": "The information to store"},
            "metadata": {
                "type": "object",
                "description": "Optional metadata of the item",
                "properties": {
                    "tags": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "Tags that categorize the memory",
                    },
                    "ttl": {"type": "integer", "description": "Time to live in seconds"},
                    "source": {"type": "string", "description": "Where the information is from"},
                },
            },
        }
        | _named("use; memory_list_sources tells of them"),
        ["key", "value"],
    ),
    _tool(
        "memory_retrieve",
        "Retrieve information that was stored in the agent's memory under a key.",
        {"key": {"type": "string", "description": "Key of the memory item"}} | _named("use"),
        ["key"],
    ),
    _tool(
        "memory_search",
        "Search the agent's memory. memory_list_sources tells what a source's queries look like.",
        {
            "query": {
                "type": "object",
                "description": 'Such as {"query": "text"} or {"pattern": "user:*"}, with a filter',
            },
            "limit": {"type": "integer", "description": "Most results", "default": 10},
        }
        | _named("search"),
        ["query"],
    ),
    _tool(
        "memory_delete",
        "Delete information from the agent's memory that is outdated or wrong.",
        {"key": {"type": "string", "description": "Key of the memory item"}} | _named("use"),
        ["key"],
    ),
    _tool(
        "memory_list_keys",
        "List the keys in the agent's memory, to see what is stored.",
        {
            "pattern": {
                "type": "string",
                "description": "Part of the key, or a glob such as user:*",
            },
            "limit": {"type": "integer", "description": "Most keys", "default": 100},
        }
        | _named("list"),
        [],
    ),
]
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS
}
