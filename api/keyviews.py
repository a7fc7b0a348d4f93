"""What answers on keys look like."""

from __future__ import annotations

from typing import Any

from memrelay.keyvalue import key_of, metadata_of, value_of
from memrelay.times import format_time
from memrelay.types import Memory


def metadata_view(memory: Memory) -> dict[str, Any]:
    """All of a key but its value."""
    ends = memory.expires_at
    return {
        "version": memory.version,
        "stored_at": format_time(memory.created_at),
        "expires_at": None if ends is None else format_time(ends),
        "ttl_ms": None if ends is None else (ends - memory.created_at) // 1000,
        "tags": memory.tags,
        "metadata": metadata_of(memory),
    }


def stored_view(memory: Memory) -> dict[str, Any]:
    return {"key": key_of(memory), **metadata_view(memory)}


def entry_view(memory: Memory, *, include_metadata: bool = True) -> dict[str, Any]:
    view = {"key": key_of(memory), "value": value_of(memory)}
    return view | metadata_view(memory) if include_metadata else view
