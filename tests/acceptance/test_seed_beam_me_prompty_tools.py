"""BeamMePrompty's six memory tools on memrelay: names, schemas, results and errors as it documents them."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from memrelay import AsyncMemrelay, Memrelay
from memrelay.compat.beam_me_prompty import TOOLS, AsyncMemoryTools, MemoryToolError, MemoryTools
from tests.acceptance.conftest import BEAM_SOURCES
from tests.service import Service

NAMES = [
    "memory_list_sources",
    "memory_store",
    "memory_retrieve",
    "memory_search",
    "memory_delete",
    "memory_list_keys",
]


@pytest.fixture
def tools(beam: Memrelay) -> MemoryTools:
    return MemoryTools(beam, namespace=uuid4().hex)


def test_tools_are_the_six_with_their_schemas() -> None:
    assert [tool["function"]["name"] for tool in TOOLS] == NAMES
    parameters = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    assert {name: schema.get("required", []) for name, schema in parameters.items()} == {
        "memory_list_sources": [],
        "memory_store": ["key", "value"],
        "memory_retrieve": ["key"],
        "memory_search": ["query"],
        "memory_delete": ["key"],
        "memory_list_keys": [],
    }
    for name in NAMES[1:]:
        assert parameters[name]["properties"]["memory_source"]["type"] == "string"
    assert parameters["memory_store"]["properties"]["value"]["type"] == "object"
    assert parameters["memory_search"]["properties"]["limit"]["default"] == 10
    assert parameters["memory_list_keys"]["properties"]["limit"]["default"] == 100
    assert all(tool["type"] == "function" for tool in TOOLS)
    json.dumps(TOOLS)


def test_memory_list_sources_is_a_json_text(tools: MemoryTools) -> None:
    text = tools.call("memory_list_sources")
    assert isinstance(text, str)
    info = json.loads(text)
    assert info.keys() == BEAM_SOURCES.keys()
    assert info["cache"].keys() == {
        "type",
        "query_format",
        "datasource_description",
        "capabilities",
    }
    assert info["persistent"]["type"] == "sqlite"
    described = info["cache"]["datasource_description"]
    assert described["description"] == "Fast temporary cache for session data"
    assert described["default"] is True
    assert "redis://" not in text


def test_memory_store_retrieve_and_delete(tools: MemoryTools) -> None:
    value = {"name": "Alice", "age": 7}
    metadata = {"tags": ["user"], "ttl": 60, "source": "the form"}
    stored = tools.call("memory_store", {"key": "user:1", "value": value, "metadata": metadata})
    assert (stored["status"], stored["key"]) == ("stored", "user:1")
    kept = {name: stored["metadata"][name] for name in ("tags", "ttl", "source")}
    assert kept == metadata
    found = tools.call("memory_retrieve", '{"key": "user:1", "memory_source": null}')
    assert found == {"found": True, "key": "user:1", "value": value}
    assert tools.call("memory_delete", {"key": "user:1"}) == {"status": "deleted", "key": "user:1"}
    assert tools.call("memory_retrieve", {"key": "user:1"}) == {
        "found": False,
        "key": "user:1",
        "message": "No memory found for key: user:1",
    }
    assert tools.call("memory_delete", {"key": "user:1"})["status"] == "deleted"


def test_seconds_of_a_tool_are_seconds(tools: MemoryTools) -> None:
    tools.memory_store("a", {"n": 1}, {"ttl": 1})
    tools.memory_store("b", {"n": 1}, {"ttl": 1000})
    time.sleep(1.01)
    assert tools.memory_list_keys() == {"count": 1, "keys": ["b"]}
    assert tools.memory_retrieve("a")["found"] is False


def test_memory_search_and_list_keys(tools: MemoryTools) -> None:
    for number in range(12):
        tools.memory_store(f"user:{number:02}", {"n": number}, {"tags": ["t"]})
    tools.memory_store("note", {"text": "Ana prefers window seats"})
    listed = tools.call("memory_list_keys", {"pattern": "user:", "limit": 3})
    assert listed == {"count": 3, "keys": ["user:00", "user:01", "user:02"]}
    assert tools.call("memory_list_keys", {})["count"] == 13
    found = tools.call("memory_search", {"query": {"pattern": "user:*"}})
    assert (found["found"], len(found["results"])) == (10, 10)
    assert found["results"][0].keys() == {"key", "value", "metadata"}
    assert found["results"][0]["value"] == {"n": 0}
    assert found["results"][0]["metadata"]["tags"] == ["t"]
    said = tools.call("memory_search", {"query": {"query": "where does Ana sit"}, "limit": 1})
    assert [result["key"] for result in said["results"]] == ["note"]


def test_tools_use_the_source_that_is_named(tools: MemoryTools) -> None:
    tools.memory_store("k", {"a": 1}, memory_source="persistent")
    assert tools.memory_retrieve("k")["found"] is False
    assert tools.memory_retrieve("k", memory_source="persistent")["found"] is True
    assert tools.memory_search("k", memory_source="persistent")["found"] == 1


@pytest.mark.parametrize(
    ("name", "arguments", "doing"),
    [
        ("memory_store", {"key": "k", "value": {}}, "store memory"),
        ("memory_retrieve", {"key": "k"}, "retrieve memory"),
        ("memory_search", {"query": {}}, "search memory"),
        ("memory_delete", {"key": "k"}, "delete memory"),
        ("memory_list_keys", {}, "list memory keys"),
    ],
)
def test_tool_says_which_source_is_unknown(
    tools: MemoryTools, name: str, arguments: dict[str, Any], doing: str
) -> None:
    with pytest.raises(MemoryToolError) as raised:
        tools.call(name, arguments | {"memory_source": "nowhere"})
    assert str(raised.value) == f"Failed to {doing}: {{:unknown_memory_source, :nowhere}}"
    assert raised.value.reason == ("unknown_memory_source", "nowhere")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("memory_forget", {}),
        ("memory_retrieve", {}),
        ("memory_retrieve", "no json"),
        ("memory_retrieve", "[]"),
        ("memory_retrieve", {"key": 1}),
        ("memory_retrieve", {"key": ""}),
        ("memory_retrieve", {"key": "k", "unknown": 1}),
        ("memory_store", {"key": "k", "value": 1, "metadata": {"ttl": "60"}}),
        ("memory_store", {"key": "k", "value": 1, "metadata": {"ttl": -1}}),
        ("memory_store", {"key": "k", "value": 1, "metadata": {"tags": "t"}}),
        ("memory_store", {"key": "k", "value": 1, "metadata": []}),
        ("memory_store", {"key": "k", "value": "x" * 70_000}),
        ("memory_search", {"query": {"text": "x"}}),
        ("memory_search", {"query": {}, "limit": 0}),
        ("memory_search", {"query": 7}),
        ("memory_list_keys", {"limit": "many"}),
        ("memory_list_keys", {"memory_source": "../cache"}),
    ],
)
def test_what_a_model_gets_wrong_is_an_error_that_it_can_read(
    tools: MemoryTools, name: str, arguments: Any
) -> None:
    with pytest.raises(MemoryToolError, match=r"^Failed to "):
        tools.call(name, arguments)


async def test_tools_are_there_for_event_loops_too(beam_service: Service) -> None:
    async with AsyncMemrelay(beam_service.url) as relay:
        tools = AsyncMemoryTools(relay, namespace=uuid4().hex)
        await tools.call("memory_store", {"key": "k", "value": {"a": 1}})
        assert (await tools.memory_retrieve("k"))["value"] == {"a": 1}
