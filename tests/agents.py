"""Agents that call tools over MCP, with the client of mcp 2.x, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
from fastapi import FastAPI
from mcp import Client
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent, Tool


class Agent:
    """Calls tools of a server; ``fails`` gives what a tool that failed told the agent."""

    def __init__(self, server: Callable[[], str | Transport]) -> None:
        self._server = server

    async def tools(self) -> set[str]:
        return {tool.name for tool in await self.declared()}

    async def declared(self) -> list[Tool]:
        async with Client(self._server()) as client:
            return (await client.list_tools()).tools

    async def call(self, name: str, /, **arguments: Any) -> Any:
        result = await self._result(name, arguments)
        assert not result.is_error, text_of(result)
        return result.structured_content

    async def fails(self, name: str, /, **arguments: Any) -> str:
        result = await self._result(name, arguments)
        assert result.is_error, result.structured_content
        return text_of(result).removeprefix(f"Error executing tool {name}: ")

    async def done(self, name: str, /, **arguments: Any) -> Any:
        """A write, once its event has succeeded; gives what the write answered."""
        event = await self.call(name, **arguments)
        for _ in range(4):
            status = await self.call(
                "get_event_status", event_id=event["event_id"], wait_seconds=30
            )
            if status["status"] not in ("PENDING", "RUNNING"):
                break
        assert status["status"] == "SUCCEEDED", status
        return event

    async def found(self, query: str, **arguments: Any) -> list[str]:
        answer = await self.call("search_memories", query=query, **arguments)
        return [hit["id"] for hit in answer["results"]]

    async def _result(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        async with Client(self._server()) as client:
            result = await client.call_tool(name, arguments)
        assert isinstance(result, CallToolResult)
        return result


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def agent_of(app: FastAPI) -> Agent:
    """Of an application in this process. Nobody runs its lifespan, as under ``python -m api``."""
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))
    return Agent(lambda: streamable_http_client("http://127.0.0.1/mcp", http_client=client))


def of(user: str) -> dict[str, Any]:
    """mem0's filter for one user."""
    return {"AND": [{"user_id": user}]}
