"""Long-term memory of Google's Agent Development Kit in memrelay: a ``BaseMemoryService``.

``pip install 'memrelay[google-adk]'``, and a memrelay that runs (``memrelay up``):

    import asyncio

    from google.adk.events.event import Event
    from memrelay.compat.google_adk import MemrelayMemoryService

    async def main() -> None:
        ana = {"app_name": "travel", "user_id": "ana"}
        memory = MemrelayMemoryService()  # Runner(…, memory_service=memory)
        told = Event(author="user", message="I like window seats.")
        await memory.add_events_to_memory(**ana, events=[told])
        found = await memory.search_memory(**ana, query="where does she like to sit?")
        print(found.memories[0].content.parts[0].text)

    asyncio.run(main())

Or by a line of ``services.yaml`` beside the agents, and ``adk web --memory_service_uri memrelay://``:

    services: [{scheme: memrelay, type: memory, class: memrelay.compat.google_adk.MemrelayMemoryService}]
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import batched
from urllib.parse import urlsplit
from uuid import UUID, uuid4, uuid5

from google.adk.events.event import Event
from google.adk.memory.base_memory_service import BaseMemoryService, SearchMemoryResponse
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions.session import Session
from google.genai.types import Content, Part

from memrelay.client import Accepted, AsyncMemrelay, AsyncSource, Hit, NewMemory
from memrelay.compat.stored import check_stored

log = logging.getLogger("memrelay.compat.google_adk")

WAIT_SECONDS = 30.0
"""How long a write may take to be found."""
TEXT_BYTES = 1 << 16
ADDED_AT_ONCE = 64
"""So many texts of that size fit in one request."""
APP_FIELD, FIELD = "adk_app", "adk"
"""Metadata of ours: the app alone, as searches filter by it, and all the rest."""
DELETED = "adk-deleted"
"""The key namespace that knows which ids were deleted."""
_IDS = UUID("6f1f6c0e-5d0b-4d5c-9a51-0f5b7a3f6c11")


class MemrelayMemoryService(BaseMemoryService):  # type: ignore[misc]
    """What users of apps said and were told, in one source of memrelay.

    A memory is the text of one event, 64 KiB of it at most, without thoughts; events without text are
    none. ADK's user is the memory's, its app a part of the memory's identity and of every search. What
    was added or deleted, the next search knows (added: unless another driver stands in for the primary).

    ``uri``: ``memrelay://host:port/source``; both may be left out (``memrelay://``): the service is at
    ``MEMRELAY_URL`` then (https too), the source is ``default``. The key is ``MEMRELAY_API_KEY``. A search
    finds ``top_k`` (1 to 200) memories. May be used from any event loop: each call connects anew.
    Everything raises memrelay's errors, ``Unavailable`` when the service cannot be had.
    """

    def __init__(
        self, uri: str = "memrelay://", *, top_k: int = 10, agents_dir: object = None
    ) -> None:
        """``agents_dir`` is what ADK tells every service; not needed here."""
        parts = urlsplit(uri)
        self._url = f"http://{parts.netloc}" if parts.netloc else None
        self._source = parts.path.strip("/") or "default"
        self._top_k = top_k

    async def add_session_to_memory(self, session: Session) -> None:
        """Add all of a session's events; one that was added before is replaced, a deleted one stays so."""
        await self.add_events_to_memory(
            app_name=session.app_name,
            user_id=session.user_id,
            events=session.events,
            session_id=session.id,
        )

    async def add_events_to_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        events: Sequence[Event],
        session_id: str | None = None,
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """As ``add_session_to_memory``, these events alone. ``custom_metadata``: of each of their entries."""
        more = custom_metadata or {}
        memories = [
            _placed(_memory(app_name, user_id, _entry_of(event), more), event, session_id)
            for event in events
            if _text(event.content)
        ]
        async with self._connected() as relay:
            for part in batched(memories, ADDED_AT_ONCE):
                gone = await self._deleted(relay).retrieve_many([one["id"] for one in part])
                await self._add(relay, [one for one in part if one["id"] not in gone])

    async def add_memory(
        self,
        *,
        app_name: str,
        user_id: str,
        memories: Sequence[MemoryEntry],
        custom_metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Add those entries that have a text; one with the id of another replaces it, one without is new."""
        more = custom_metadata or {}
        added = [
            _memory(app_name, user_id, entry, more) for entry in memories if _text(entry.content)
        ]
        async with self._connected() as relay:
            for part in batched(added, ADDED_AT_ONCE):
                await self._add(relay, part)

    async def search_memory(
        self, *, app_name: str, user_id: str, query: str
    ) -> SearchMemoryResponse:
        """The user's best memories of this app for ``query``, the best first; none for a blank one."""
        text = _clean(query)
        if not text.strip():
            return SearchMemoryResponse()
        async with self._connected() as relay:
            answer = await relay.search(
                text,
                user_id=user_id,
                filter={f"metadata.{APP_FIELD}": {"$eq": app_name}},
                source=self._source,
                top_k=self._top_k,
            )
        return SearchMemoryResponse(memories=[_found(hit) for hit in answer.hits])

    async def delete_memory(
        self, *, app_name: str, user_id: str, memory_id: str | None = None
    ) -> None:
        """Delete the user's memory of this app with ``MemoryEntry.id``, whether or not it is there.

        Its event does not come back with its session.
        """
        if not memory_id:
            return
        id = _id(app_name, user_id, memory_id)
        async with self._connected() as relay:
            await self._deleted(relay).store(id, True, wait=WAIT_SECONDS)
            await _stored(relay.delete(id, source=self._source, wait=WAIT_SECONDS))

    def _connected(self) -> AsyncMemrelay:
        return AsyncMemrelay(self._url)

    def _deleted(self, relay: AsyncMemrelay) -> AsyncSource:
        return relay.source(self._source, namespace=DELETED)

    async def _add(self, relay: AsyncMemrelay, memories: Sequence[NewMemory]) -> None:
        if memories:
            await _stored(relay.add(memories, source=self._source, wait=WAIT_SECONDS))


def _id(app_name: str, user_id: str, memory_id: str) -> str:
    """Of memrelay's memory. Nobody else's has it, whatever id they ask for."""
    return str(uuid5(_IDS, json.dumps([app_name, user_id, memory_id])))


def _entry_of(event: Event) -> MemoryEntry:
    said_at = datetime.fromtimestamp(event.timestamp, UTC).isoformat()
    content = event.content or Content()
    return MemoryEntry(id=event.id, content=content, author=event.author or None, timestamp=said_at)


def _memory(
    app_name: str, user_id: str, entry: MemoryEntry, custom: Mapping[str, object]
) -> NewMemory:
    id = entry.id or str(uuid4())
    kept = {
        "id": id,
        "author": entry.author,
        "role": entry.content.role,
        "timestamp": entry.timestamp,
        "custom": {**custom, **entry.custom_metadata},
    }
    return {
        "id": _id(app_name, user_id, id),
        "text": _text(entry.content),
        "user_id": user_id,
        "metadata": {APP_FIELD: app_name, FIELD: kept},
    }


def _placed(memory: NewMemory, event: Event, session_id: str | None) -> NewMemory:
    memory["created_at"] = datetime.fromtimestamp(event.timestamp, UTC)
    if session_id is not None:
        memory["session_id"] = session_id
    return memory


def _found(hit: Hit) -> MemoryEntry:
    kept = (hit.metadata or {})[FIELD]
    return MemoryEntry(
        id=kept["id"],
        content=Content(role=kept["role"], parts=[Part(text=hit.text)]),
        author=kept["author"],
        timestamp=kept["timestamp"],
        custom_metadata=kept["custom"],
    )


def _text(content: Content | None) -> str:
    """What is said in it, a line for each part; empty if that is nothing."""
    parts = content.parts if content and content.parts else []
    text = "\n".join(part.text for part in parts if part.text and not part.thought)
    return _clean(text) if text.strip() else ""


def _clean(text: str) -> str:
    """As memrelay takes it: valid UTF-8, without NUL, cut after ``TEXT_BYTES``."""
    encoded = text.replace("\0", " ").encode(errors="replace")
    if len(encoded) > TEXT_BYTES:
        log.warning("a text of %d bytes is cut after %d", len(encoded), TEXT_BYTES)
    return encoded[:TEXT_BYTES].decode(errors="ignore")


async def _stored(write: Awaitable[Accepted]) -> None:
    """Returns when the primary driver has all of it."""
    check_stored((await write).job, waited=WAIT_SECONDS)
