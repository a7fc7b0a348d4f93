"""MCP at ``/mcp`` on a running service, with the client that agents use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agents import Agent, of
from tests.integration.conftest import Remember
from tests.service import Service

HEADERS = {"Accept": "application/json, text/event-stream"}
MEM0 = {
    "add_memory",
    "search_memories",
    "get_memories",
    "get_memory",
    "update_memory",
    "delete_memory",
    "delete_all_memories",
    "delete_entities",
    "list_events",
    "get_event_status",
}


@pytest.fixture
def agent(service: Service) -> Agent:
    return Agent(lambda: f"{service.url}/mcp")


async def test_memory_that_was_added_is_found_once_its_event_has_succeeded(
    agent: Agent, user: str
) -> None:
    event = await agent.call("add_memory", text="Ana prefers window seats.", user_id=user)
    assert event["status"] == "PENDING"
    status = await agent.call("get_event_status", event_id=event["event_id"], wait_seconds=30)
    assert status["status"] == "SUCCEEDED"
    answer = await agent.call("search_memories", query="where to sit?", filters=of(user))
    (hit,) = answer["results"]
    assert hit["id"] == event["memory_ids"][0]
    assert hit["memory"] == "Ana prefers window seats."
    assert hit["user_id"] == user
    assert hit["score"] > 0


async def test_tools_are_those_of_mem0(agent: Agent) -> None:
    assert await agent.tools() == MEM0


async def test_tools_say_what_they_may_take_away(agent: Agent) -> None:
    hints = {tool.name: tool.annotations for tool in await agent.declared()}
    assert {name for name, hint in hints.items() if hint and hint.destructive_hint} == {
        "update_memory",
        "delete_memory",
        "delete_all_memories",
        "delete_entities",
    }
    assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == {
        "search_memories",
        "get_memories",
        "get_memory",
        "list_events",
        "get_event_status",
    }


async def test_memory_that_was_added_can_be_read_as_it_was_given(agent: Agent, user: str) -> None:
    event = await agent.done(
        "add_memory",
        text='{"seat": "window"}',
        user_id=user,
        agent_id="travel",
        run_id="r1",
        metadata={"team": "x"},
    )
    memory = await agent.call("get_memory", memory_id=event["memory_ids"][0])
    created_at = memory.pop("created_at")
    assert created_at.endswith("Z")
    assert memory == {
        "id": event["memory_ids"][0],
        "memory": '{"seat": "window"}',
        "user_id": user,
        "agent_id": "travel",
        "app_id": None,
        "run_id": "r1",
        "categories": [],
        "metadata": {"team": "x"},
    }


async def test_each_message_is_a_memory(agent: Agent, user: str) -> None:
    turns = [{"role": "user", "content": "I like tea."}, {"role": "assistant", "content": "Noted."}]
    await agent.done("add_memory", messages=turns, user_id=user)
    page = await agent.call("get_memories", filters=of(user))
    assert [(it["metadata"]["role"], it["memory"]) for it in page["results"]] == [
        ("user", "I like tea."),
        ("assistant", "Noted."),
    ]


async def test_pages_of_memories_follow_each_other(agent: Agent, user: str) -> None:
    turns = [{"role": "user", "content": f"Turn {number}."} for number in range(5)]
    event = await agent.done("add_memory", messages=turns, user_id=user)
    ids: list[str] = []
    cursor = None
    while True:
        page = await agent.call("get_memories", filters=of(user), page_size=2, cursor=cursor)
        ids += [memory["id"] for memory in page["results"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert ids == event["memory_ids"]


async def test_search_is_narrowed_by_mem0_filters(
    agent: Agent, user: str, remember: Remember
) -> None:
    remember(
        [
            {
                "id": f"{user}-old",
                "text": "tea",
                "user_id": user,
                "created_at": "2020-01-01T09:00:00Z",
            },
            {"id": f"{user}-run", "text": "tea", "user_id": user, "session_id": "r1"},
            {"id": f"{user}-tag", "text": "tea", "user_id": user, "tags": ["drinks"]},
            {"id": f"{user}-app", "text": "tea", "user_id": user, "metadata": {"app_id": "shop"}},
            {"id": f"{user}-hot", "text": "tea", "user_id": user, "metadata": {"score": 4}},
        ]
    )

    async def narrowed(*conditions: dict[str, Any]) -> set[str]:
        filters = {"AND": [{"user_id": user}, *conditions]}
        return {id.rpartition("-")[2] for id in await agent.found("tea", filters=filters)}

    assert await narrowed() == {"old", "run", "tag", "app", "hot"}
    assert await narrowed({"created_at": {"lt": "2020-01-02"}}) == {"old"}
    assert await narrowed({"run_id": "r1"}) == {"run"}
    assert await narrowed({"run_id": "*"}) == {"run"}
    assert await narrowed({"categories": {"contains": "drinks"}}) == {"tag"}
    assert await narrowed({"app_id": {"in": ["shop", "bank"]}}) == {"app"}
    assert await narrowed({"metadata": {"score": {"gte": 4}}}) == {"hot"}
    assert await narrowed({"memory_ids": [f"{user}-old", f"{user}-hot"]}) == {"old", "hot"}
    assert await narrowed({"OR": [{"run_id": "r1"}, {"app_id": "shop"}]}) == {"run", "app"}
    assert await narrowed({"NOT": [{"run_id": "r1"}, {"app_id": "shop"}]}) == {"old", "tag", "hot"}
    assert len(await agent.found("tea", filters=of(user), top_k=2)) == 2


async def test_update_replaces_the_text_and_keeps_the_rest(
    agent: Agent, user: str, remember: Remember
) -> None:
    remember(
        [
            {
                "id": user,
                "text": "Ana likes tea.",
                "user_id": user,
                "session_id": "r1",
                "tags": ["drinks"],
                "metadata": {"agent_id": "a", "team": "x"},
                "created_at": "2020-01-01T09:00:00Z",
            }
        ]
    )
    before = await agent.call("get_memory", memory_id=user)
    await agent.done("update_memory", memory_id=user, text="Ana likes coffee.")
    after = await agent.call("get_memory", memory_id=user)
    assert after == before | {"memory": "Ana likes coffee."}
    await agent.done("update_memory", memory_id=user, text="Ana likes water.", metadata={"n": 1})
    last = await agent.call("get_memory", memory_id=user)
    assert last == before | {"memory": "Ana likes water.", "metadata": {"n": 1}}


async def test_updates_build_on_each_other_and_not_on_what_was_deleted(
    agent: Agent, user: str
) -> None:
    """Whether a store has heard of it or not."""
    added = await agent.done("add_memory", text="Ana likes tea.", user_id=user, metadata={"n": 1})
    (memory_id,) = added["memory_ids"]
    await agent.call("update_memory", memory_id=memory_id, text="Ana likes tea.", metadata={"n": 2})
    await agent.done("update_memory", memory_id=memory_id, text="Ana likes coffee.")
    last = await agent.call("get_memory", memory_id=memory_id)
    assert (last["memory"], last["metadata"]) == ("Ana likes coffee.", {"n": 2})
    await agent.call("delete_memory", memory_id=memory_id)
    refused = await agent.fails("update_memory", memory_id=memory_id, text="Ana is back.")
    assert "no such memory" in refused


async def test_deleted_memory_is_gone_at_once(agent: Agent, user: str) -> None:
    event = await agent.done("add_memory", text="Ana likes tea.", user_id=user)
    (memory_id,) = event["memory_ids"]
    await agent.call("delete_memory", memory_id=memory_id)
    assert "no such memory" in await agent.fails("get_memory", memory_id=memory_id)
    assert await agent.found("tea", filters=of(user)) == []


async def test_delete_all_takes_one_user_and_no_other(agent: Agent, user: str) -> None:
    other = f"{user}-other"
    await agent.done("add_memory", text="Ana likes tea.", user_id=user)
    kept = await agent.done("add_memory", text="Ben likes tea.", user_id=other)
    await agent.done("delete_all_memories", user_id=user)
    assert await agent.found("tea", filters=of(user)) == []
    assert await agent.found("tea", filters=of(other)) == kept["memory_ids"]


async def test_delete_all_of_a_run_keeps_the_others_of_its_user(agent: Agent, user: str) -> None:
    await agent.done("add_memory", text="tea", user_id=user, run_id="r1", agent_id="a")
    other_agent = await agent.done("add_memory", text="tea", user_id=user, run_id="r1")
    other_run = await agent.done("add_memory", text="tea", user_id=user, agent_id="a")
    await agent.done("delete_all_memories", user_id=user, run_id="r1", agent_id="a")
    kept = {*other_agent["memory_ids"], *other_run["memory_ids"]}
    assert set(await agent.found("tea", filters=of(user))) == kept


@pytest.mark.parametrize("arguments", [{}, {"run_id": "r1"}, {"user": "ana"}, {"user_id": ""}])
async def test_delete_all_without_a_user_deletes_nothing(
    agent: Agent, user: str, arguments: dict[str, Any]
) -> None:
    event = await agent.done("add_memory", text="tea", user_id=user, run_id="r1")
    assert "user_id" in await agent.fails("delete_all_memories", **arguments)
    assert await agent.found("tea", filters=of(user)) == event["memory_ids"]


async def test_deleted_entity_takes_its_memories_with_it(agent: Agent, user: str) -> None:
    await agent.done("add_memory", text="tea", user_id=user, agent_id=user)
    kept = await agent.done("add_memory", text="tea", user_id=user)
    await agent.done("delete_entities", agent_id=user)
    assert await agent.found("tea", filters=of(user)) == kept["memory_ids"]
    assert "one of" in await agent.fails("delete_entities", user_id=user, agent_id=user)
    assert "one of" in await agent.fails("delete_entities")


async def test_events_are_listed_newest_first(agent: Agent, user: str) -> None:
    first = await agent.done("add_memory", text="tea", user_id=user)
    second = await agent.done("add_memory", text="coffee", user_id=user)
    page = await agent.call("list_events", page_size=1)
    assert [event["event_id"] for event in page["results"]] == [second["event_id"]]
    page = await agent.call("list_events", page_size=1, cursor=page["next"])
    assert [event["event_id"] for event in page["results"]] == [first["event_id"]]
    assert page["results"][0]["drivers"] == {
        "redis": {"stored": 1, "failed": 0},
        "sqlite": {"stored": 1, "failed": 0},
    }


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("add_memory", {"text": "tea"}, "user_id: say whose"),
        ("add_memory", {"user_id": "u"}, "text: give text or messages"),
        ("add_memory", {"text": " ", "user_id": "u"}, "text, or messages/0/content: is blank"),
        ("add_memory", {"text": "t", "user_id": "a\nb"}, "user_id: holds a control character"),
        ("add_memory", {"text": "t", "run_id": ""}, "run_id: String should have at least 1"),
        ("add_memory", {"text": "t", "user_id": "u", "metadata": {"": 1}}, "metadata: has a key"),
        ("add_memory", {"text": "t", "userId": "u"}, "userId: Extra inputs are not permitted"),
        ("add_memory", {"messages": [], "user_id": "u"}, "messages: List should have at least 1"),
        ("add_memory", {"messages": [{"role": "user"}]}, "messages/0/content: Field required"),
        ("search_memories", {"query": "tea"}, "filters: say whose memories"),
        ("search_memories", {"query": "tea", "filters": {}}, "filters: an object such as"),
        ("search_memories", {"query": "tea", "filters": {"AND": []}}, "filters/AND: a list"),
        (
            "search_memories",
            {"query": "tea", "filters": {"keywords": "x"}},
            "filters/keywords: not a",
        ),
        ("search_memories", {"query": "", "filters": of("u")}, "query: is blank"),
        ("search_memories", {"query": "tea", "filters": of("u"), "top_k": 900}, "top_k"),
        ("search_memories", {"query": "tea", "filters": of("u"), "limit": 3}, "limit"),
        ("get_memories", {"filters": of("u"), "page_size": 0}, "page_size"),
        ("get_memories", {"filters": of("u"), "cursor": "?"}, "cursor: not the cursor"),
        ("get_memory", {"memory_id": "no-such"}, "memory_id: there is no such memory"),
        ("get_memory", {"memory_id": ""}, "memory_id: an id is not empty"),
        ("update_memory", {"memory_id": "no-such", "text": "t"}, "memory_id: there is no such"),
        ("delete_memory", {"memory_id": "a\nb"}, "memory_id: holds a control character"),
        ("get_event_status", {"event_id": "no-such"}, "event_id: there is no such event"),
        ("get_event_status", {"event_id": ""}, "event_id: there is no such event"),
        ("get_event_status", {"event_id": "j", "wait_seconds": 600}, "wait_seconds"),
        ("list_events", {"cursor": "x"}, "cursor: not one of ours"),
    ],
)
async def test_bad_arguments_are_told_by_the_names_of_the_tool(
    agent: Agent, tool: str, arguments: dict[str, Any], told: str
) -> None:
    assert told in await agent.fails(tool, **arguments)


async def test_operator_that_the_source_cannot_do_is_told_with_its_field(agent: Agent) -> None:
    filters = {"AND": [{"user_id": "u"}, {"metadata": {"team": {"gt": "x"}}}]}
    told = await agent.fails("search_memories", query="tea", filters=filters)
    assert told.startswith("filters/")
    assert "metadata.team" in told
    assert "declares as filterable" in told


async def test_nothing_that_was_given_is_told_back(agent: Agent) -> None:
    assert "secret" not in await agent.fails("search_memories", query="tea", top_k="secret")
    assert "secret" not in await agent.fails("get_memory", memory_id="secret")
