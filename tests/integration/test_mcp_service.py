"""MCP as a part of the service: who is answered, what is served, and several of them in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import httpx
import pytest
from fastapi import FastAPI

from memrelay.errors import ConfigError
from tests.agents import agent_of, of
from tests.integration.conftest import Opened, Refused

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream"}


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9", "[::1]:8700"])
def test_names_of_loopback_are_answered(http: httpx.Client, host: str) -> None:
    answer = http.post("/mcp", json=LIST, headers=HEADERS | {"Host": host})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80"])
def test_other_names_are_misdirected(http: httpx.Client, host: str) -> None:
    assert http.post("/mcp", json=LIST, headers=HEADERS | {"Host": host}).status_code == 421


def test_web_pages_elsewhere_are_forbidden(http: httpx.Client) -> None:
    own = http.post("/mcp", json=LIST, headers=HEADERS | {"Origin": "http://localhost:3000"})
    assert own.status_code == 200
    other = http.post("/mcp", json=LIST, headers=HEADERS | {"Origin": "https://evil.example"})
    assert other.status_code == 403


async def test_configured_names_and_pages_are_answered(opened: Opened) -> None:
    settings = {
        "host": "10.1.2.3",
        "mcp_hosts": ["memory.example.com"],
        "mcp_origins": ["https://chat.example.com"],
    }
    async with opened(**settings) as app, client_of(app) as client:
        for host in ("10.1.2.3:8700", "memory.example.com", "memory.example.com:443"):
            headers = HEADERS | {"Host": host, "Origin": "https://chat.example.com"}
            assert (await client.post("/mcp", json=LIST, headers=headers)).status_code == 200
        headers = HEADERS | {"Host": "other.example.com"}
        assert (await client.post("/mcp", json=LIST, headers=headers)).status_code == 421


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
def test_no_stream_is_held_open(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/mcp", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_paths_around_it_are_answered_as_before(http: httpx.Client, refused: Refused) -> None:
    refused(http.post("/mcp/", json=LIST, headers=HEADERS), 404)
    refused(http.get("/mcpx"), 404)
    refused(http.put("/v1/search"), 405)


async def test_first_requests_at_once_are_answered_by_one_server(opened: Opened) -> None:
    """It is made for the first of them, and its sessions cannot be started twice."""
    async with opened() as app, client_of(app) as client:
        answers = await asyncio.gather(
            *(client.post("/mcp", json=LIST, headers=HEADERS) for _ in range(4))
        )
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.text for answer in answers}) == 1


async def test_several_applications_serve_without_a_lifespan(opened: Opened, user: str) -> None:
    async with opened() as first, opened() as second:
        event = await agent_of(first).done("add_memory", text="tea", user_id=user)
        assert await agent_of(second).found("tea", filters=of(user)) == event["memory_ids"]
    async with opened() as third:
        assert await agent_of(third).found("tea", filters=of(user)) == event["memory_ids"]


async def test_namespaces_know_nothing_of_each_other(opened: Opened, user: str) -> None:
    async with opened(namespace="one") as one, opened(namespace="two") as two:
        event = await agent_of(one).done("add_memory", text="tea", user_id=user)
        (memory_id,) = event["memory_ids"]
        stranger = agent_of(two)
        assert await stranger.found("tea", filters=of(user)) == []
        assert "no such memory" in await stranger.fails("get_memory", memory_id=memory_id)
        assert "no such event" in await stranger.fails(
            "get_event_status", event_id=event["event_id"]
        )
        await stranger.done("delete_all_memories", user_id=user)
        assert await agent_of(one).found("tea", filters=of(user)) == [memory_id]


async def test_configured_user_is_meant_where_nobody_is_named(opened: Opened, user: str) -> None:
    async with opened(mcp_user=user) as app:
        agent = agent_of(app)
        event = await agent.done("add_memory", text="tea")
        await agent.done("add_memory", text="tea", user_id=f"{user}-other")
        assert await agent.found("tea") == event["memory_ids"]
        filters = {"categories": {"contains": "drinks"}}
        assert await agent.found("tea", filters=filters) == []
        assert "user_id" in await agent.fails("delete_all_memories")


async def test_quota_that_is_used_up_says_when_to_try_again(opened: Opened, user: str) -> None:
    async with opened(namespace="slow", namespace_rate=1) as app:
        agent = agent_of(app)
        turns = [{"role": "user", "content": f"Turn {number}."} for number in range(200)]
        await agent.call("add_memory", messages=turns, user_id=user)
        told = await agent.fails("add_memory", messages=turns, user_id=user)
        assert "Try again in" in told


def _none_of(name: str) -> str:
    raise PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("installed", "said"),
    [(_none_of, "not installed"), (lambda name: "1.30.0", "version below 2")],
    ids=["missing", "too old"],
)
async def test_package_that_is_not_there_is_named_with_what_brings_it(
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    refused: Refused,
    installed: Callable[[str], str],
    said: str,
) -> None:
    monkeypatch.setattr("api.mcp.version", installed)
    async with opened() as app, client_of(app) as client:
        problem = refused(await client.post("/mcp", json=LIST), 501)
        assert said in problem["detail"]
        assert "memrelay[server,mcp]" in problem["detail"]
        assert (await client.get("/healthz")).status_code == 200


async def test_no_toolset_is_said_with_the_setting(opened: Opened, refused: Refused) -> None:
    async with opened(mcp_toolsets=[]) as app, client_of(app) as client:
        assert "mcp_toolsets" in refused(await client.post("/mcp", json=LIST), 404)["detail"]


async def test_toolsets_with_a_name_in_common_are_refused(opened: Opened) -> None:
    with pytest.raises(ConfigError, match="mem0 and openmemory both have a tool delete_all"):
        async with opened(mcp_toolsets=["mem0", "openmemory"]):
            pass
