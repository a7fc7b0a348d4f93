"""One memory as it is stored, to be told or to be written again.

There is no write of single fields: who changes some reads the memory and writes it whole. Of two who do so at
once the later holds, and a delete in between is undone.
"""

from __future__ import annotations

from api.mcp.relay import Asked, relay_of
from memrelay.client import NewMemory, StoredMemory
from memrelay.errors import InvalidInput, NotFound


async def stored(asked: Asked, memory_id: str) -> StoredMemory:
    """``InvalidInput`` if there is none."""
    async with relay_of(asked) as relay:
        try:
            return await relay.get(memory_id)
        except NotFound:
            message = "there is no such memory; one that was just added is there a moment later"
            raise InvalidInput(message, pointer="/memory_id") from None


def again(memory: StoredMemory) -> NewMemory:
    """What writes the memory as it is."""
    new: NewMemory = {
        "id": memory.id,
        "text": memory.text or "",
        "tags": memory.tags,
        "metadata": memory.metadata or {},
        "created_at": memory.created_at,
    }
    if memory.user_id is not None:
        new["user_id"] = memory.user_id
    if memory.session_id is not None:
        new["session_id"] = memory.session_id
    if memory.expires_at is not None:
        new["expires_at"] = memory.expires_at
    return new
