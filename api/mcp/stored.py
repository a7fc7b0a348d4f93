"""One memory as it is stored, to be told or to be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.mcp.relay import Asked, relay_of
from memrelay.client import Accepted, Changes, StoredMemory
from memrelay.errors import InvalidInput, NotFound


async def stored(asked: Asked, memory_id: str) -> StoredMemory:
    """``InvalidInput`` if there is none."""
    async with relay_of(asked) as relay:
        try:
            return await relay.get(memory_id)
        except NotFound:
            message = "there is no such memory; one that was just added is there a moment later"
            raise InvalidInput(message, pointer="/memory_id") from None


async def change(asked: Asked, memory_id: str, changes: Changes) -> Accepted:
    """Merge ``changes`` into what was accepted last; ``InvalidInput`` if there is no such memory, or not
    any more."""
    async with relay_of(asked) as relay:
        try:
            return await relay.edit(memory_id, changes)
        except NotFound:
            raise InvalidInput("there is no such memory", pointer="/memory_id") from None


def merging(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What makes ``new`` of ``old`` when it is merged into it (RFC 7396)."""
    changes: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            changes[name] = merging(before, value)
        elif name not in old or before != value:
            changes[name] = value
    return changes
