"""mem0's tools: names and shapes of its hosted server, as far as they are true here.

An event is a job of ours. A run is a session; an agent and an app are metadata. Left out:
``list_entities`` (nothing keeps a list of users), numbered pages (they have cursors), extraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.mcp.filters import names_entity, told
from api.mcp.relay import Asked, relay_of, settings_of
from api.mcp.stored import change, merging, stored
from api.mcp.tools import Toolset
from memrelay.client import Accepted, Changes, Hit, Job, NewMemory, StoredMemory
from memrelay.errors import InvalidInput, NotFound

ENTITY = ("agent_id", "app_id")

Status = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED"]


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: str
    content: str


class Event(BaseModel):
    """A write that was accepted and will not be lost; ``get_event_status`` tells when it is done."""

    event_id: str
    status: Status = "PENDING"
    memory_ids: list[str]


class Failure(BaseModel):
    """A memory that a store refused for good, and why."""

    memory_id: str
    driver: str
    code: str
    detail: str


class Outcome(BaseModel):
    """Of the stores of one event."""

    stored: int
    failed: int


class EventStatus(BaseModel):
    """SUCCEEDED: all of its memories are stored. ``failures`` are the first ones, by memory and store."""

    event_id: str
    status: Status
    total: int
    failures: list[Failure]
    drivers: dict[str, Outcome]
    created_at: AwareDatetime | None
    ended_at: AwareDatetime | None


class Events(BaseModel):
    """Newest first; ``next`` is the cursor of the page after, null at the end."""

    results: list[EventStatus]
    next: str | None


class Memory(BaseModel):
    """A memory as it is stored. ``categories`` are its tags."""

    id: str
    memory: str
    user_id: str | None
    agent_id: Any = None
    app_id: Any = None
    run_id: str | None
    categories: list[str]
    metadata: dict[str, Any]
    created_at: AwareDatetime


class Found(Memory):
    """A memory with how well it fits."""

    score: float


class Hits(BaseModel):
    """Best first. ``behind``: accepted memories that could not be found yet; null if unknown."""

    results: list[Found]
    behind: int | None


class Memories(BaseModel):
    """``next`` is the cursor of the page after, null at the end."""

    results: list[Memory]
    next: str | None


Filters = Annotated[
    dict[str, Any] | None,
    Field(
        description='{"AND": [{"user_id": "ana"}, {"created_at": {"gte": "2026-01-01"}}]}, also OR and '
        'NOT; fields user_id, agent_id, app_id, run_id, categories, created_at, memory_ids, {"metadata": '
        '{"key": "value"}}; operators eq, ne, in, gt, gte, lt, lte, contains. Name a user, agent, app '
        "or run."
    ),
]


async def add_memory(
    asked: Asked,
    *,
    text: str | None = None,
    messages: list[Message] | None = None,
    user_id: str | None = None,
    agent_id: str | None = None,
    app_id: str | None = None,
    run_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Event:
    """Remember a fact, a preference or messages for a user, agent, app or run.

    Give text or messages; they are kept as they are, a memory for each message. The answer comes before
    they are stored: get_event_status tells when they can be found.
    """
    fields: NewMemory = {"text": text or ""}
    user = user_id if user_id is not None else settings_of(asked).mcp_user
    if user is None and agent_id is None and app_id is None and run_id is None:
        raise InvalidInput(
            "say whose memory it is, or give agent_id, app_id or run_id", pointer="/user_id"
        )
    if user is not None:
        fields["user_id"] = user
    if run_id is not None:
        fields["session_id"] = run_id
    fields["metadata"] = (metadata or {}) | _given(agent_id=agent_id, app_id=app_id)
    async with relay_of(asked) as relay:
        return event_of(await relay.add(_memories(fields, text, messages)))


async def search_memories(
    asked: Asked,
    query: str,
    filters: Filters = None,
    top_k: int = 10,
) -> Hits:
    """Find the memories that fit a question best, by meaning and by words."""
    selected = _selected(asked, filters)
    async with relay_of(asked) as relay:
        answer = await relay.search(query, filter=selected, top_k=top_k)
    found = [Found(**_fields(hit), score=hit.score) for hit in answer.hits]
    return Hits(results=found, behind=answer.behind)


async def get_memories(
    asked: Asked,
    filters: Filters = None,
    page_size: int = 100,
    cursor: str | None = None,
) -> Memories:
    """List memories, the oldest first as a rule; go on with the cursor that next gave.

    A page may hold less than page_size before the end.
    """
    selected = _selected(asked, filters)
    async with relay_of(asked) as relay:
        page = await relay.list_memories(filter=selected, limit=page_size, cursor=cursor)
    return Memories(results=[Memory(**_fields(it)) for it in page.memories], next=page.cursor)


async def get_memory(asked: Asked, memory_id: str) -> Memory:
    """Get one memory by its id."""
    return Memory(**_fields(await stored(asked, memory_id)))


async def update_memory(
    asked: Asked, memory_id: str, text: str, metadata: dict[str, Any] | None = None
) -> Event:
    """Replace the text of a memory, and its metadata if given; everything else stays."""
    changes: Changes = {"text": text}
    if metadata is not None:
        before = (await stored(asked, memory_id)).metadata or {}
        kept = {name: before[name] for name in ENTITY if name in before}
        changes["metadata"] = merging(before, kept | metadata)
    return event_of(await change(asked, memory_id, changes))


async def delete_memory(asked: Asked, memory_id: str) -> Event:
    """Delete one memory, whether or not it is there. It is not found any more from now on."""
    async with relay_of(asked) as relay:
        return event_of(await relay.delete_many([memory_id]))


async def delete_all_memories(
    asked: Asked,
    *,
    user_id: str,
    agent_id: str | None = None,
    app_id: str | None = None,
    run_id: str | None = None,
) -> Event:
    """Delete every memory of one user, or only those of an agent, app or run of theirs. Cannot be undone."""
    return await _delete(asked, user_id, run_id, _given(agent_id=agent_id, app_id=app_id))


async def delete_entities(
    asked: Asked,
    *,
    user_id: str | None = None,
    agent_id: str | None = None,
    app_id: str | None = None,
    run_id: str | None = None,
) -> Event:
    """Delete one user, agent, app or run with all of its memories, whosever they are. Cannot be undone."""
    if sum(it is not None for it in (user_id, agent_id, app_id, run_id)) != 1:
        raise InvalidInput("give one of user_id, agent_id, app_id and run_id", pointer="/user_id")
    return await _delete(asked, user_id, run_id, _given(agent_id=agent_id, app_id=app_id))


async def list_events(asked: Asked, page_size: int = 20, cursor: str | None = None) -> Events:
    """List writes and what became of them, newest first; go on with the cursor that next gave."""
    async with relay_of(asked) as relay:
        page = await relay.jobs(cursor=cursor, limit=page_size)
    return Events(results=[status_of(job) for job in page.jobs], next=page.cursor)


async def get_event_status(
    asked: Asked, event_id: str, wait_seconds: Annotated[float, Field(ge=0, le=30)] = 0
) -> EventStatus:
    """What became of a write. With wait_seconds the answer comes when it is done, or after that time."""
    async with relay_of(asked) as relay:
        try:
            return status_of(await relay.job(event_id, wait=wait_seconds))
        except (NotFound, InvalidInput):
            raise InvalidInput(
                "there is no such event, or no longer", pointer="/event_id"
            ) from None


def event_of(accepted: Accepted) -> Event:
    return Event(event_id=accepted.job.id, memory_ids=[it.id for it in accepted.memories])


def status_of(job: Job) -> EventStatus:
    return EventStatus(
        event_id=job.id,
        status=_status(job),
        total=job.total,
        failures=[
            Failure(memory_id=it.id, driver=it.driver, code=it.code, detail=it.detail)
            for it in job.errors
        ],
        drivers={
            name: Outcome(stored=it.stored, failed=it.failed + it.canceled)
            for name, it in job.counts.items()
        },
        created_at=job.accepted_at,
        ended_at=job.ended_at,
    )


def _status(job: Job) -> Status:
    """By the primary, from which is read; another store may still be on its way. By all if it is away."""
    if job.status == "accepted":
        return "PENDING"
    if job.primary.failed or job.status in ("failed", "canceled"):
        return "FAILED"
    everything = any(it.stored == job.total for it in job.counts.values())
    return "SUCCEEDED" if job.settled and everything else "RUNNING"


def _memories(
    fields: NewMemory, text: str | None, messages: Sequence[Message] | None
) -> list[NewMemory]:
    if (text is None) == (messages is None):
        raise InvalidInput("give text or messages", pointer="/text")
    if messages is None:
        return [fields]
    return [
        {**fields, "text": it.content, "metadata": {**fields["metadata"], "role": it.role}}
        for it in messages
    ]


def _selected(asked: Asked, filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """The filter, of the configured user where it names nobody; ``InvalidInput`` if there is none."""
    parts = [] if filters is None else [told(filters)]
    if filters is None or not names_entity(filters):
        user = settings_of(asked).mcp_user
        if user is None:
            message = 'say whose memories, such as {"AND": [{"user_id": "ana"}]}'
            raise InvalidInput(message, pointer="/filters")
        parts.insert(0, {"user_id": user})
    return parts[0] if len(parts) == 1 else {"$and": parts}


async def _delete(
    asked: Asked, user_id: str | None, run_id: str | None, entity: Mapping[str, str]
) -> Event:
    chosen = {f"metadata.{name}": value for name, value in entity.items()}
    async with relay_of(asked) as relay:
        return event_of(
            await relay.delete_where(user_id=user_id, session_id=run_id, filter=chosen or None)
        )


def _fields(memory: StoredMemory | Hit) -> dict[str, Any]:
    metadata = dict(memory.metadata or {})
    return {
        "id": memory.id,
        "memory": memory.text,
        "user_id": memory.user_id,
        "run_id": memory.session_id,
        **{name: metadata.pop(name, None) for name in ENTITY},
        "categories": list(memory.tags),
        "metadata": metadata,
        "created_at": memory.created_at,
    }


def _given(**entity: str | None) -> dict[str, str]:
    return {name: value for name, value in entity.items() if value is not None}


TOOLSET = Toolset(
    reads=(
        search_memories,
        get_memories,
        get_memory,
        list_events,
        get_event_status,
    ),
    adds=(add_memory,),
    changes=(
        update_memory,
        delete_memory,
        delete_all_memories,
        delete_entities,
    ),
    names={
        r"^/filter\b": "/filters",
        r"^/memories/(\d+)/text": r"text, or messages/\1/content",
        r"^/memories$": "messages",
        r"^/memories/\d+": "",
        r"^/ids?(/\d+)?$": "memory_id",
        r"session_id": "run_id",
        r"^/limit": "page_size",
        r"^/wait": "wait_seconds",
    },
)
