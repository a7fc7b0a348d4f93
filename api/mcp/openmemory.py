"""OpenMemory's tools, of the server that mem0 gave up: one user, who is the setting ``mcp_user``.

Its address named the user. An address is nobody's proof, so here the operator says who it is. ``infer``
is taken and does nothing: texts are kept as they are.
"""

from __future__ import annotations

from typing import Any

from api.mcp.relay import Asked, relay_of, settings_of
from api.mcp.tools import Toolset
from memrelay.client import Hit, StoredMemory
from memrelay.errors import InvalidInput

MOST = 10
"""Memories that a search gives."""
PAGE = 512


async def add_memories(asked: Asked, text: str, infer: bool = True) -> dict[str, Any]:
    """Remember something about the user. It is kept as it is given, and can be found a moment later."""
    del infer
    async with relay_of(asked) as relay:
        accepted = await relay.add({"text": text, "user_id": _user(asked)})
    results = [{"id": it.id, "memory": text, "event": "ADD"} for it in accepted.memories]
    return {"results": results, "event_id": accepted.job.id}


async def search_memory(asked: Asked, query: str) -> dict[str, Any]:
    """Find what is remembered of the user for a question."""
    async with relay_of(asked) as relay:
        answer = await relay.search(query, user_id=_user(asked), top_k=MOST)
    return {"results": [{**_fields(hit), "score": hit.score} for hit in answer.hits]}


async def list_memories(asked: Asked) -> dict[str, Any]:
    """List what is remembered of the user, the oldest first as a rule; more says whether that is not all."""
    async with relay_of(asked) as relay:
        page = await relay.list_memories(user_id=_user(asked), limit=PAGE)
    return {"results": [_fields(it) for it in page.memories], "more": page.cursor is not None}


async def delete_memories(asked: Asked, memory_ids: list[str]) -> str:
    """Delete memories of the user by their ids. What is not the user's stays."""
    user = _user(asked)
    selected = {"id": {"$in": memory_ids}}
    async with relay_of(asked) as relay:
        await relay.delete_where(user_id=user, filter=selected)
    return "Successfully deleted what of these is the user's"


async def delete_all_memories(asked: Asked) -> str:
    """Delete everything that is remembered of the user. Cannot be undone."""
    async with relay_of(asked) as relay:
        await relay.delete_where(user_id=_user(asked))
    return "Successfully deleted all memories"


def _user(asked: Asked) -> str:
    user = settings_of(asked).mcp_user
    if user is None:
        raise InvalidInput("nobody says whose memories; the operator sets mcp_user")
    return user


def _fields(memory: StoredMemory | Hit) -> dict[str, Any]:
    return {
        "id": memory.id,
        "memory": memory.text,
        "metadata": memory.metadata,
        "created_at": memory.created_at.isoformat(),
    }


TOOLSET = Toolset(
    reads=(
        search_memory,
        list_memories,
    ),
    adds=(add_memories,),
    changes=(
        delete_memories,
        delete_all_memories,
    ),
    names={r"^/memories/\d+": "", r"^/filter/id": "memory_ids"},
)
