"""AutoMem's tools, for one user: the setting ``mcp_user``, or nobody.

Left out: ``associate_memories`` (there is no graph), and of recall what needs one, time in words, and tags by
prefix. ``importance``, ``type`` and ``confidence`` are kept as metadata and rank nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.mcp.relay import Asked, relay_of, settings_of
from api.mcp.stored import change, merging, stored
from api.mcp.tools import Toolset
from memrelay.client import Changes, NewMemory

type Part = Annotated[float | None, Field(ge=0, le=1)]


class Recalled(BaseModel):
    """A memory with how well it fits."""

    id: str
    content: str
    tags: list[str]
    metadata: dict[str, Any]
    timestamp: str
    score: float


class Recall(BaseModel):
    results: list[Recalled]
    count: int


async def store_memory(
    asked: Asked,
    content: str,
    *,
    tags: list[str] | None = None,
    type: str | None = None,
    confidence: Part = None,
    importance: Part = None,
    metadata: dict[str, Any] | None = None,
    timestamp: str | None = None,
    id: str | None = None,
) -> str:
    """Store a memory with tags, importance and metadata; it is kept as it is, and is found a moment later."""
    memory: NewMemory = {"text": content, "tags": tags or []}
    memory["metadata"] = (metadata or {}) | _given(
        type=type, confidence=confidence, importance=importance
    )
    user = settings_of(asked).mcp_user
    if user is not None:
        memory["user_id"] = user
    if timestamp is not None:
        memory["created_at"] = timestamp
    if id is not None:
        memory["id"] = id
    async with relay_of(asked) as relay:
        accepted = await relay.add(memory)
    return f"Memory stored: {accepted.memories[0].id}"


async def recall_memory(
    asked: Asked,
    query: str,
    *,
    limit: int = 5,
    tags: list[str] | None = None,
    tag_mode: Literal["any", "all"] = "any",
    start: str | None = None,
    end: str | None = None,
) -> Recall:
    """Recall the memories that fit a question best, of these exact tags and from that time if given."""
    conditions: list[dict[str, Any]] = []
    if tags:
        kinds = [{"tags": {"$contains": tag}} for tag in tags]
        conditions.append({"$or" if tag_mode == "any" else "$and": kinds})
    if start is not None:
        conditions.append({"created_at": {"$gte": start}})
    if end is not None:
        conditions.append({"created_at": {"$lte": end}})
    async with relay_of(asked) as relay:
        answer = await relay.search(
            query,
            user_id=settings_of(asked).mcp_user,
            filter={"$and": conditions} if conditions else None,
            top_k=limit,
        )
    results = [
        Recalled(
            id=hit.id,
            content=hit.text or "",
            tags=list(hit.tags),
            metadata=hit.metadata or {},
            timestamp=hit.created_at.isoformat(),
            score=hit.score,
        )
        for hit in answer.hits
    ]
    return Recall(results=results, count=len(results))


async def update_memory(
    asked: Asked,
    memory_id: str,
    *,
    content: str | None = None,
    tags: list[str] | None = None,
    type: str | None = None,
    confidence: Part = None,
    importance: Part = None,
    metadata: dict[str, Any] | None = None,
    timestamp: str | None = None,
) -> str:
    """Update a memory: tags are replaced, metadata is merged, what is left out stays."""
    changes: Changes = {}
    given = (metadata or {}) | _given(type=type, confidence=confidence, importance=importance)
    if given:
        before = (await stored(asked, memory_id)).metadata or {}
        changes["metadata"] = merging(before, {**before, **given})
    if content is not None:
        changes["text"] = content
    if tags is not None:
        changes["tags"] = tags
    if timestamp is not None:
        changes["created_at"] = timestamp
    await change(asked, memory_id, changes)
    return f"Memory {memory_id} updated"


async def delete_memory(asked: Asked, memory_id: str) -> str:
    """Delete a memory by its id, whether or not it is there."""
    async with relay_of(asked) as relay:
        await relay.delete_many([memory_id])
    return f"Memory {memory_id} deleted"


async def check_database_health(asked: Asked) -> dict[str, Any]:
    """Whether memories can be stored and found, and which stores answer."""
    async with relay_of(asked) as relay:
        ready = await relay.ready()
    healthy = ready.accept and ready.search and all(ready.drivers.values())
    return {"status": "healthy" if healthy else "degraded", **ready.model_dump()}


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


TOOLSET = Toolset(
    reads=(
        recall_memory,
        check_database_health,
    ),
    adds=(store_memory,),
    changes=(
        update_memory,
        delete_memory,
    ),
    names={
        r"^/memories/\d+": "",
        r"^/ids/\d+": "memory_id",
        r"^/id$": "memory_id",
        r"^/text": "content",
        r"^/created_at": "timestamp",
        r"^/filter.*\$(gte|lte).*": "start, or end",
        r"^/filter": "tags",
        r"^/top_k": "limit",
    },
)
