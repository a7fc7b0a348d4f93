"""The toolsets that a setting asks for, beside mem0's: each by the names and shapes that its agents know."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from memrelay.compat.beam_me_prompty import TOOLS
from tests.agents import Agent, agent_of
from tests.integration.conftest import Opened, Remember

type Settle = Callable[[], None]


@pytest.fixture
def settle(http: httpx.Client) -> Settle:
    """Waits until what was written last is stored."""

    def wait() -> None:
        (job,) = http.get("/v1/jobs", params={"limit": 1}).json()["jobs"]
        assert http.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).json()["status"] == "stored"

    return wait


async def keys_of(agent: Agent, pattern: str) -> list[str]:
    keys: list[str] = (await agent.call("memory_list_keys", pattern=pattern))["keys"]
    return keys


async def test_beam_me_promptys_tools_are_declared_verbatim(opened: Opened) -> None:
    async with opened(mcp_toolsets=["beam_me_prompty"]) as app:
        declared = await agent_of(app).declared()
    told = {
        tool.name: {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
        }
        for tool in declared
    }
    assert told == {tool["function"]["name"]: tool["function"] for tool in TOOLS}


async def test_beam_me_prompty_stores_and_retrieves_any_value(opened: Opened, user: str) -> None:
    async with opened(mcp_toolsets=["beam_me_prompty"]) as app:
        agent = agent_of(app)
        for value in ({"seat": "window", "n": [1, 2.5]}, "plain", '{"as": "text"}', [1], None, 7):
            stored = await agent.call(
                "memory_store", key=user, value=value, metadata={"tags": ["a"], "ttl": 600}
            )
            assert stored["status"] == "stored"
            assert stored["metadata"]["tags"] == ["a"]
            assert stored["metadata"]["ttl"] == 600
            assert await agent.call("memory_retrieve", key=user) == {
                "found": True,
                "key": user,
                "value": value,
            }
        assert await keys_of(agent, f"{user}*") == [user]
        found = await agent.call("memory_search", query={"pattern": f"{user}*"})
        assert [result["key"] for result in found["results"]] == [user]
        assert await agent.call("memory_delete", key=user) == {"status": "deleted", "key": user}
        gone = await agent.call("memory_retrieve", key=user)
        assert not gone["found"]


async def test_beam_me_prompty_knows_the_sources(opened: Opened, user: str) -> None:
    async with opened(mcp_toolsets=["beam_me_prompty"]) as app:
        agent = agent_of(app)
        listed = json.loads((await agent.call("memory_list_sources"))["result"])
        assert {"default", "plain", "vectors"} <= listed.keys()
        await agent.call("memory_store", key=user, value=1, memory_source="plain")
        assert (await agent.call("memory_retrieve", key=user, memory_source="plain"))["found"]
        assert not (await agent.call("memory_retrieve", key=user))["found"]
        told = await agent.fails("memory_retrieve", key=user, memory_source="nope")
        assert "unknown_memory_source" in told


async def test_openmemory_is_of_the_configured_user(
    opened: Opened, user: str, settle: Settle, remember: Remember
) -> None:
    other = f"{user}-other"
    remember([{"id": other, "text": "Ben likes tea.", "user_id": other}])
    async with opened(mcp_toolsets=["openmemory"], mcp_user=user) as app:
        agent = agent_of(app)
        (added,) = (await agent.call("add_memories", text="Ana likes tea."))["results"]
        await agent.call("add_memories", text="Ana likes trains.", infer=True)
        settle()
        first = (await agent.call("search_memory", query="tea"))["results"][0]
        assert (first["id"], first["memory"]) == (added["id"], "Ana likes tea.")
        listed = await agent.call("list_memories")
        assert [it["memory"] for it in listed["results"]] == ["Ana likes tea.", "Ana likes trains."]
        assert not listed["more"]
        await agent.call("delete_memories", memory_ids=[added["id"], other])
        left = (await agent.call("list_memories"))["results"]
        assert [it["memory"] for it in left] == ["Ana likes trains."]
        await agent.call("delete_all_memories")
        assert (await agent.call("list_memories"))["results"] == []
    async with opened(mcp_toolsets=["mem0"]) as app:
        assert (await agent_of(app).call("get_memory", memory_id=other))["memory"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("add_memories", {"text": "tea"}),
        ("search_memory", {"query": "tea"}),
        ("list_memories", {}),
        ("delete_memories", {"memory_ids": ["a"]}),
        ("delete_all_memories", {}),
    ],
)
async def test_openmemory_without_a_configured_user_does_nothing(
    opened: Opened, tool: str, arguments: dict[str, Any]
) -> None:
    async with opened(mcp_toolsets=["openmemory"]) as app:
        assert "the operator sets mcp_user" in await agent_of(app).fails(tool, **arguments)


async def test_openmemory_names_its_fields(opened: Opened, user: str) -> None:
    async with opened(mcp_toolsets=["openmemory"], mcp_user=user) as app:
        agent = agent_of(app)
        assert "text: is blank" in await agent.fails("add_memories", text="")
        told = await agent.fails("delete_memories", memory_ids=[])
        assert told.startswith("memory_ids")


async def test_agent_memory_server_keeps_its_fields(
    opened: Opened, user: str, settle: Settle
) -> None:
    async with opened(mcp_toolsets=["agent_memory_server"]) as app:
        agent = agent_of(app)
        record = {
            "id": user,
            "text": "Ana moved to Lisbon.",
            "user_id": user,
            "session_id": "s1",
            "namespace": "travel",
            "topics": ["places"],
            "entities": ["Ana", "Lisbon"],
            "memory_type": "episodic",
            "event_date": "2026-01-31T12:00:00Z",
        }
        ack = await agent.call("create_long_term_memories", memories=[record])
        assert ack["status"].startswith("ok")
        settle()
        kept = await agent.call("get_long_term_memory", memory_id=user)
        assert record.items() <= kept.items()
        edited = await agent.call(
            "edit_long_term_memory", memory_id=user, text="Ana moved to Porto.", pinned=True
        )
        settle()
        assert await agent.call("get_long_term_memory", memory_id=user) == edited
        assert edited == kept | {"text": "Ana moved to Porto.", "pinned": True}
        await agent.call("delete_long_term_memories", memory_ids=[user])
        assert "no such" in await agent.fails("get_long_term_memory", memory_id=user)


async def test_agent_memory_server_searches_by_its_filters(
    opened: Opened, user: str, settle: Settle
) -> None:
    async with opened(mcp_toolsets=["agent_memory_server"]) as app:
        agent = agent_of(app)
        records = [
            {
                "id": f"{user}-{topic}",
                "text": f"Tea and {topic}.",
                "user_id": user,
                "topics": [topic],
            }
            for topic in ("food", "trains", "music")
        ]
        await agent.call("create_long_term_memories", memories=records)
        settle()

        async def found(**arguments: Any) -> Any:
            return await agent.call(
                "search_long_term_memory", text="tea", user_id={"eq": user}, **arguments
            )

        every = await found()
        assert {it["id"] for it in every["memories"]} == {it["id"] for it in records}
        assert (every["total"], every["next_offset"]) == (3, None)
        page = await found(limit=2)
        assert page["next_offset"] == 2
        rest = await found(limit=2, offset=2)
        assert page["memories"] + rest["memories"] == every["memories"]
        (food,) = (await found(topics={"any": ["food", "cars"]}))["memories"]
        assert food["id"] == f"{user}-food"
        assert food["dist"] == pytest.approx(1 - food["score"])
        by_words = (await found(search_mode="keyword"))["memories"]
        assert by_words[0]["dist"] == 0
        told = await agent.fails("search_long_term_memory", text="x", topics={"all": ["a"]})
        assert told.startswith("topics: not an operator here")
        told = await agent.fails("search_long_term_memory", text="x", topics={"ne": "a"})
        assert told.startswith("topics")
        assert "text: is blank" in await agent.fails("search_long_term_memory", text="")


async def test_agent_memory_server_means_the_configured_user(
    opened: Opened, user: str, settle: Settle
) -> None:
    async with opened(mcp_toolsets=["agent_memory_server"], mcp_user=user) as app:
        agent = agent_of(app)
        records = [{"id": user, "text": "tea"}, {"id": f"{user}-2", "text": "tea", "user_id": "x"}]
        await agent.call("create_long_term_memories", memories=records)
        settle()
        (own,) = (await agent.call("search_long_term_memory", text="tea"))["memories"]
        assert (own["id"], own["user_id"]) == (user, user)
        told = await agent.fails("create_long_term_memories", memories=[{"text": "t", "mood": 1}])
        assert "memories/0/mood: " in told


async def test_automem_stores_recalls_and_updates(
    opened: Opened, user: str, settle: Settle
) -> None:
    async with opened(mcp_toolsets=["automem"], mcp_user=user) as app:
        agent = agent_of(app)
        stored = await agent.call(
            "store_memory",
            content="Ana likes tea.",
            id=user,
            tags=["drinks"],
            importance=0.9,
            timestamp="2026-01-31T12:00:00Z",
        )
        assert stored["result"] == f"Memory stored: {user}"
        settle()
        recalled = await agent.call("recall_memory", query="tea")
        (memory,) = recalled["results"]
        assert recalled["count"] == 1
        assert memory["id"] == user
        assert memory["tags"] == ["drinks"]
        assert memory["metadata"] == {"importance": 0.9}
        for arguments in (
            {"tags": ["drinks", "food"]},
            {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"},
        ):
            assert (await agent.call("recall_memory", query="tea", **arguments))["count"] == 1
        for arguments in (
            {"tags": ["drinks", "food"], "tag_mode": "all"},
            {"end": "2026-01-01T00:00:00Z"},
        ):
            assert (await agent.call("recall_memory", query="tea", **arguments))["count"] == 0
        await agent.call("update_memory", memory_id=user, tags=["hot"], metadata={"n": 1})
        settle()
        (memory,) = (await agent.call("recall_memory", query="tea", tags=["hot"]))["results"]
        assert memory["content"] == "Ana likes tea."
        assert memory["metadata"] == {"importance": 0.9, "n": 1}
        await agent.call("delete_memory", memory_id=user)
        assert (await agent.call("recall_memory", query="tea"))["count"] == 0
        assert (await agent.call("check_database_health"))["status"] == "healthy"
        assert "content: is blank" in await agent.fails("store_memory", content=" ")
        assert "start, or end" in await agent.fails("recall_memory", query="t", start="yesterday")
        assert "importance" in await agent.fails("store_memory", content="t", importance=7)


async def test_all_toolsets_without_a_name_in_common_are_served_together(opened: Opened) -> None:
    async with opened(mcp_toolsets=["mem0", "agent_memory_server", "beam_me_prompty"]) as app:
        tools = await agent_of(app).tools()
    assert {"add_memory", "edit_long_term_memory", "memory_store"} <= tools
    assert len(tools) == 21
