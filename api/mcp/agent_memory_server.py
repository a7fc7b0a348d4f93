"""agent-memory-server's tools of long-term memory. Names and shapes are its own; a field is kept as it is.

A record is a memory as its adapter keeps one: all but id, text, user, session and time of creation is
metadata. Left out: working memory and prompts (which hold no memories), compaction (nothing is merged),
recency, and filters of times other than ``created_at``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.mcp.relay import Asked, relay_of, settings_of
from api.mcp.stored import change, merging, stored
from api.mcp.tools import Toolset
from memrelay.client import Changes, Hit, NewMemory, StoredMemory
from memrelay.errors import InvalidInput

PLAIN = ("user_id", "session_id", "created_at")
KEPT = ("namespace", "topics", "entities", "memory_type", "event_date", "pinned")
OPERATORS = {
    "eq": "$eq",
    "ne": "$ne",
    "any": "$in",
    "gt": "$gt",
    "gte": "$gte",
    "lt": "$lt",
    "lte": "$lte",
}

type Type = Literal["episodic", "semantic", "message"]
type Which = Annotated[
    dict[str, Any] | None, Field(description='{"eq": "x"}, {"ne": "x"} or {"any": ["x", "y"]}')
]
type When = Annotated[
    dict[str, Any] | None, Field(description='{"gte": "2026-01-01T00:00:00Z"}; gt, gte, lt, lte')
]


class Record(BaseModel):
    """What is to be remembered. Resolve pronouns and relative times before it is stored."""

    model_config = ConfigDict(extra="forbid")

    text: str
    id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    namespace: str | None = None
    topics: list[str] | None = None
    entities: list[str] | None = None
    memory_type: Type = "semantic"
    event_date: AwareDatetime | None = None
    pinned: bool | None = None
    created_at: AwareDatetime | None = None


class Kept(BaseModel):
    """A record as it is stored."""

    id: str
    text: str
    user_id: str | None
    session_id: str | None
    namespace: Any = None
    topics: Any = None
    entities: Any = None
    memory_type: Any = None
    event_date: Any = None
    pinned: Any = None
    created_at: AwareDatetime


class Result(Kept):
    """With its distance from the text: 0 is the same, or by keywords the best that was found."""

    dist: float
    score: float


class Results(BaseModel):
    """``total`` are those up to here; ``next_offset`` is null where there are no more."""

    memories: list[Result]
    total: int
    next_offset: int | None


class Ack(BaseModel):
    status: str


async def create_long_term_memories(asked: Asked, memories: list[Record]) -> Ack:
    """Store memories that can be searched later; they are kept as they are, and are found a moment later."""
    user = settings_of(asked).mcp_user
    async with relay_of(asked) as relay:
        accepted = await relay.add([_memory(record, user) for record in memories])
    ids = ", ".join(it.id for it in accepted.memories)
    return Ack(status=f"ok, accepted {ids}")


async def search_long_term_memory(
    asked: Asked,
    *,
    text: str,
    user_id: Which = None,
    session_id: Which = None,
    namespace: Which = None,
    topics: Which = None,
    entities: Which = None,
    memory_type: Which = None,
    created_at: When = None,
    search_mode: Literal["semantic", "keyword", "hybrid"] = "semantic",
    limit: int = 10,
    offset: int = 0,
) -> Results:
    """Find the memories that fit a text best. Use the exact ids of users and sessions, or leave them out."""
    user = settings_of(asked).mcp_user
    conditions = {
        "user_id": {"eq": user} if user_id is None and user is not None else user_id,
        "session_id": session_id,
        "created_at": created_at,
        "namespace": namespace,
        "topics": topics,
        "entities": entities,
        "memory_type": memory_type,
    }
    chosen = [_condition(name, it) for name, it in conditions.items() if it is not None]
    selected = {"$and": chosen} if chosen else None
    async with relay_of(asked) as relay:
        answer = await relay.search(
            text, filter=selected, top_k=limit, offset=offset, mode=search_mode
        )
    best = (
        1.0 if answer.mode == "semantic" else max((hit.score for hit in answer.hits), default=0.0)
    )
    found = [_result(hit, hit.score / (best or 1.0)) for hit in answer.hits]
    end = offset + len(found)
    return Results(memories=found, total=end, next_offset=end if len(found) == limit else None)


async def get_long_term_memory(asked: Asked, memory_id: str) -> Kept:
    """Get a long-term memory by its id."""
    return Kept(**_fields(await stored(asked, memory_id)))


async def edit_long_term_memory(
    asked: Asked,
    memory_id: str,
    *,
    text: str | None = None,
    topics: list[str] | None = None,
    entities: list[str] | None = None,
    memory_type: Type | None = None,
    namespace: str | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    event_date: AwareDatetime | None = None,
    pinned: bool | None = None,
) -> Kept:
    """Change fields of a long-term memory; what is left out stays."""
    memory = await stored(asked, memory_id)
    fields = {"text": text, "user_id": user_id, "session_id": session_id}
    kept = {
        "topics": topics,
        "entities": entities,
        "memory_type": memory_type,
        "namespace": namespace,
        "event_date": None if event_date is None else event_date.isoformat(),
        "pinned": pinned,
    }
    before = memory.metadata or {}
    metadata = before | _given(kept)
    edited = memory.model_copy(update=_given(fields) | {"metadata": metadata})
    changes: Changes = {"metadata": merging(before, metadata)}
    if text is not None:
        changes["text"] = text
    if user_id is not None:
        changes["user_id"] = user_id
    if session_id is not None:
        changes["session_id"] = session_id
    await change(asked, memory_id, changes)
    return Kept(**_fields(edited))


async def delete_long_term_memories(asked: Asked, memory_ids: list[str]) -> Ack:
    """Delete long-term memories by their ids, whether or not they are there. Cannot be undone."""
    async with relay_of(asked) as relay:
        await relay.delete_many(memory_ids)
    return Ack(status=f"ok, deleted {len(memory_ids)} memories")


def _memory(record: Record, user: str | None) -> NewMemory:
    """``user`` is whose it is if the record does not say."""
    memory: NewMemory = {"text": record.text}
    user = record.user_id if record.user_id is not None else user
    if record.id is not None:
        memory["id"] = record.id
    if user is not None:
        memory["user_id"] = user
    if record.session_id is not None:
        memory["session_id"] = record.session_id
    if record.created_at is not None:
        memory["created_at"] = record.created_at
    fields = record.model_dump(mode="json", include=set(KEPT), exclude_none=True)
    memory["metadata"] = fields
    return memory


def _condition(name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """One field's; all of its operators hold."""
    if not wanted:
        raise InvalidInput('an operator, such as {"eq": "x"}', pointer=f"/{name}")
    for operator in wanted:
        if operator not in OPERATORS:
            known = ", ".join(OPERATORS)
            raise InvalidInput(f"not an operator here; there are {known}", pointer=f"/{name}")
    field = name if name in PLAIN else f"metadata.{name}"
    return {field: {OPERATORS[operator]: value for operator, value in wanted.items()}}


def _fields(memory: StoredMemory | Hit) -> dict[str, Any]:
    metadata = memory.metadata or {}
    return {
        "id": memory.id,
        "text": memory.text,
        "user_id": memory.user_id,
        "session_id": memory.session_id,
        "created_at": memory.created_at,
        **{name: metadata.get(name) for name in KEPT},
    }


def _result(hit: Hit, score: float) -> Result:
    return Result(**_fields(hit), dist=1 - score, score=max(0.0, score))


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


TOOLSET = Toolset(
    reads=(
        search_long_term_memory,
        get_long_term_memory,
    ),
    adds=(create_long_term_memories,),
    changes=(
        edit_long_term_memory,
        delete_long_term_memories,
    ),
    names={
        r"^/filter/metadata\.(\w+)": r"\1",
        r"^/filter(/\$and/\d+)?/(metadata\.)?": "",
        r"^/ids/(\d+)": r"memory_ids/\1",
        r"^/id$": "memory_id",
        r"^/query": "text",
        r"^/top_k": "limit",
    },
)
