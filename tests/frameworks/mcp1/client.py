"""The client of mcp 1.x, which many frameworks are bound to, on the server at ``MEMRELAY_URL``."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any
from uuid import uuid4

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ListToolsResult, TextContent

URL = f"{os.environ['MEMRELAY_URL']}/mcp"


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


async def listed() -> ListToolsResult:
    async with (
        streamable_http_client(URL) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await session.list_tools()


async def called(name: str, **arguments: Any) -> CallToolResult:
    async with (
        streamable_http_client(URL) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await session.call_tool(name, arguments)


async def test_tools_are_listed_with_their_schemas() -> None:
    assert importlib.metadata.version("mcp").startswith("1.")
    tools = {tool.name: tool for tool in (await listed()).tools}
    assert "add_memory" in tools
    assert tools["search_memories"].inputSchema["required"] == ["query"]
    assert tools["search_memories"].outputSchema is not None


async def test_memory_is_found_once_its_event_has_succeeded(user: str) -> None:
    event = (await called("add_memory", text="Ana likes tea.", user_id=user)).structuredContent
    assert event is not None
    status = await called("get_event_status", event_id=event["event_id"], wait_seconds=30)
    assert status.structuredContent is not None
    assert status.structuredContent["status"] == "SUCCEEDED"
    filters = {"AND": [{"user_id": user}]}
    found = (await called("search_memories", query="tea", filters=filters)).structuredContent
    assert found is not None
    assert [hit["id"] for hit in found["results"]] == event["memory_ids"]


async def test_error_reaches_the_agent_as_text(user: str) -> None:
    result = await called("delete_all_memories", run_id=user)
    assert result.isError
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert "user_id" in content.text
