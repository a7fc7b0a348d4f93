"""What ``BaseMemoryService`` promises, and what memrelay adds to it."""

from __future__ import annotations

import asyncio
import inspect
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.adk.cli.service_registry import get_service_registry, load_services_module
from google.adk.cli.utils.service_factory import create_memory_service_from_options
from google.adk.events.event import Event
from google.adk.memory.base_memory_service import BaseMemoryService
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.sessions.session import Session
from google.genai.types import Blob, Content, FunctionCall, Part

from memrelay.client import AsyncMemrelay
from memrelay.compat import google_adk
from memrelay.compat.google_adk import MemrelayMemoryService
from memrelay.errors import InvalidRequest, Unavailable


def told(text: str, **more: Any) -> Event:
    return Event(author="user", message=text, **more)


async def texts(
    memory: BaseMemoryService, user: str, query: str = "seats on trains", app: str = "travel"
) -> list[str]:
    found = await memory.search_memory(app_name=app, user_id=user, query=query)
    return [entry.content.parts[0].text for entry in found.memories]


async def test_a_session_is_found_with_all_that_its_entries_have(
    memory: MemrelayMemoryService, user: str
) -> None:
    said_at = 1_790_000_000.25
    event = told("Window seats, please.", timestamp=said_at)
    session = Session(id="s", app_name="travel", user_id=user, events=[event])
    await memory.add_session_to_memory(session)
    found = await memory.search_memory(app_name="travel", user_id=user, query="which seats?")
    (entry,) = found.memories
    assert entry == MemoryEntry(
        id=event.id,
        content=Content(role="user", parts=[Part(text="Window seats, please.")]),
        author="user",
        timestamp=datetime.fromtimestamp(said_at, UTC).isoformat(),
    )


async def test_a_session_may_be_added_again_and_again(
    memory: MemrelayMemoryService, relay: AsyncMemrelay, user: str
) -> None:
    session = Session(id="s", app_name="travel", user_id=user, events=[told("Window seats.")])
    await memory.add_session_to_memory(session)
    session.events.append(told("Quiet seats."))
    for _ in range(2):
        await memory.add_session_to_memory(session)
    assert sorted(await texts(memory, user)) == ["Quiet seats.", "Window seats."]
    session.events[0].content.parts[0].text = "Aisle seats."
    await memory.add_session_to_memory(session)
    assert sorted(await texts(memory, user)) == ["Aisle seats.", "Quiet seats."]
    assert (await relay.count(user_id=user, session_id="s")).count == 2


async def test_events_are_added_to_what_is_there(memory: MemrelayMemoryService, user: str) -> None:
    whose = {"app_name": "travel", "user_id": user}
    first = told("Window seats.")
    await memory.add_events_to_memory(**whose, events=[first], custom_metadata={"ttl": [1]})
    await memory.add_events_to_memory(**whose, events=[told("Quiet seats.")], session_id="s")
    assert sorted(await texts(memory, user)) == ["Quiet seats.", "Window seats."]
    found = await memory.search_memory(**whose, query="window")
    assert found.memories[0].custom_metadata == {"ttl": [1]}
    session = Session(id="s", **whose, events=[first])
    await memory.add_session_to_memory(session)
    assert len(await texts(memory, user)) == 2


async def test_only_what_is_said_is_remembered(
    memory: MemrelayMemoryService, relay: AsyncMemrelay, user: str
) -> None:
    parts = [
        Part(text="They want seats.", thought=True),
        Part(text="Two seats"),
        Part(function_call=FunctionCall(name="book", args={"seats": 2})),
        Part(inline_data=Blob(data=b"seats", mime_type="image/png")),
        Part(text="are booked."),
    ]
    silent: list[Any] = [None, Content(), Content(parts=[]), Content(parts=[parts[2]])]
    silent += [Content(parts=[Part(text=" \n")]), Content(parts=[parts[0]])]
    events = [Event(author="agent", content=content) for content in silent]
    events.append(Event(author="agent", content=Content(role="model", parts=parts)))
    await memory.add_events_to_memory(app_name="travel", user_id=user, events=events)
    assert await texts(memory, user) == ["Two seats\nare booked."]
    assert (await relay.count(user_id=user)).count == 1


async def test_no_other_users_and_no_other_apps_memories_are_found(
    memory: MemrelayMemoryService, user: str
) -> None:
    """Also not where names put together would be the same, or an event has the same id."""
    places = [("a", f"{user}"), ("a", f"{user}/b"), ("b", f"{user}"), (f"a/{user}", "b")]
    places += [("A", user), ("", user), (" a", user), ("ax", user), ("a", f"x{user}")]
    for app, owner in places:
        event = told(f"Seats of {app} {owner}", id="same")
        await memory.add_events_to_memory(app_name=app, user_id=owner, events=[event])
    for app, owner in places:
        assert await texts(memory, owner, "seats", app) == [f"Seats of {app} {owner}"]
    assert await texts(memory, user, "seats", "c") == []
    assert await texts(memory, "nobody", "seats", "a") == []


async def test_memories_of_other_clients_are_not_the_apps(
    memory: MemrelayMemoryService, relay: AsyncMemrelay, user: str
) -> None:
    await relay.add([{"text": "Seats from elsewhere", "user_id": user}], wait=60)
    assert await texts(memory, user) == []


async def test_nobody_is_not_everybody(memory: MemrelayMemoryService, user: str) -> None:
    event = told("Window seats.")
    await memory.add_events_to_memory(app_name="travel", user_id=user, events=[event])
    with pytest.raises(InvalidRequest):
        await texts(memory, "")
    with pytest.raises(InvalidRequest):
        await memory.add_events_to_memory(app_name="travel", user_id="", events=[event])


async def test_a_deleted_memory_is_gone_and_does_not_come_back_with_its_session(
    memory: MemrelayMemoryService, user: str
) -> None:
    whose = {"app_name": "travel", "user_id": user}
    session = Session(id="s", **whose, events=[told("Window seats."), told("Quiet seats.")])
    await memory.add_session_to_memory(session)
    gone = session.events[0].id
    await memory.delete_memory(**whose, memory_id=gone)
    assert await texts(memory, user) == ["Quiet seats."]
    await memory.delete_memory(**whose, memory_id=gone)
    await memory.add_session_to_memory(session)
    await memory.add_events_to_memory(**whose, events=session.events)
    assert await texts(memory, user) == ["Quiet seats."]


@pytest.mark.parametrize("field", ["app_name", "user_id"])
async def test_nobody_deletes_what_is_not_theirs(
    memory: MemrelayMemoryService, user: str, field: str
) -> None:
    whose = {"app_name": "travel", "user_id": user}
    event = told("Window seats.")
    await memory.add_events_to_memory(**whose, events=[event])
    await memory.delete_memory(**whose | {field: "other"}, memory_id=event.id)
    for nothing in (None, ""):
        await memory.delete_memory(**whose, memory_id=nothing)
    assert await texts(memory, user) == ["Window seats."]
    await memory.add_events_to_memory(**whose, events=[event])
    assert await texts(memory, user) == ["Window seats."]


async def test_entries_are_added_as_they_are(memory: MemrelayMemoryService, user: str) -> None:
    whose = {"app_name": "travel", "user_id": user}
    mine = MemoryEntry(
        id="mine",
        content=Content(parts=[Part(text="Likes window seats.")]),
        custom_metadata={"a": 1},
        timestamp="last summer",
    )
    nameless = MemoryEntry(content=Content(parts=[Part(text="Likes quiet seats.")]))
    await memory.add_memory(
        **whose, memories=[mine, nameless], custom_metadata={"a": 2, "b": {"c": None}}
    )
    found = await memory.search_memory(**whose, query="likes seats")
    by_text = {entry.content.parts[0].text: entry for entry in found.memories}
    assert by_text["Likes window seats."] == mine.model_copy(
        update={"custom_metadata": {"a": 1, "b": {"c": None}}}
    )
    made_up = by_text["Likes quiet seats."].id
    assert made_up
    mine.content = Content(parts=[Part(text="Likes aisle seats.")])
    await memory.add_memory(**whose, memories=[mine])
    await memory.delete_memory(**whose, memory_id=made_up)
    assert await texts(memory, user) == ["Likes aisle seats."]


async def test_a_search_finds_as_many_as_it_is_set_to_the_best_first(user: str) -> None:
    memory = MemrelayMemoryService(top_k=3)
    events = [told(f"Seat {n} is free.") for n in range(70)] + [told("The stove is broken.")]
    await memory.add_events_to_memory(app_name="travel", user_id=user, events=events)
    assert len(await texts(memory, user, "free seat")) == 3
    assert (await texts(memory, user, "which stove is broken?"))[0] == "The stove is broken."
    assert await texts(memory, user, " ") == []


async def test_a_text_that_memrelay_would_refuse_does_not_keep_its_session_out(
    memory: MemrelayMemoryService, user: str
) -> None:
    odd = [told("NUL \x00 seats"), told("half \ud83d seats"), told("é" * 40_000 + " seats")]
    await memory.add_events_to_memory(app_name="travel", user_id=user, events=odd)
    found = await texts(memory, user, "seats \x00 \ud83d")
    assert sorted(found, key=len) == ["NUL   seats", "half ? seats", "é" * 32_768]


async def test_adk_makes_one_from_its_address(tmp_path: Path, user: str) -> None:
    (tmp_path / "services.yaml").write_text(
        "services: [{scheme: memrelay, type: memory,"
        " class: memrelay.compat.google_adk.MemrelayMemoryService}]"
    )
    load_services_module(str(tmp_path))
    address = os.environ["MEMRELAY_URL"].removeprefix("http://")
    event = told("Window seats.")
    for uri, other in ((f"memrelay://{address}/notes", "notes"), ("memrelay://", "default")):
        memory = create_memory_service_from_options(base_dir=tmp_path, memory_service_uri=uri)
        assert isinstance(memory, MemrelayMemoryService)
        await memory.add_events_to_memory(app_name="travel", user_id=user, events=[event])
        async with AsyncMemrelay() as relay:
            assert (await relay.count(user_id=user, source=other)).count == 1
    assert get_service_registry().create_memory_service("memrelay://127.0.0.1:1") is not None


async def test_what_cannot_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    with pytest.raises(InvalidRequest, match="Unknown source"):
        await texts(MemrelayMemoryService("memrelay:///nowhere"), user)
    monkeypatch.setattr(google_adk, "AsyncMemrelay", lambda url: AsyncMemrelay(url, patience=0))
    with pytest.raises(Unavailable):
        await texts(MemrelayMemoryService("memrelay://127.0.0.1:1"), user)


def test_one_service_serves_one_event_loop_after_another(
    memory: MemrelayMemoryService, user: str
) -> None:
    event = told("Window seats.")
    adding = memory.add_events_to_memory(app_name="travel", user_id=user, events=[event])
    asyncio.run(adding)
    assert asyncio.run(texts(memory, user)) == ["Window seats."]


async def test_the_document_runs(capsys: pytest.CaptureFixture[str]) -> None:
    document = (inspect.getdoc(google_adk) or "").split("Or by a line")[0]
    lines = [line[4:] for line in document.splitlines() if line.startswith("    ") or not line]
    await asyncio.to_thread(exec, "\n".join(lines), {})
    assert capsys.readouterr().out == "I like window seats.\n"
