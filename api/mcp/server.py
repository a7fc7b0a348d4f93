"""The MCP server of one application: its tools, who may reach it, and what lives as long as it does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module

from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.server.transport_security import TransportSecuritySettings
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from api.mcp.tools import Toolset
from memrelay import __version__
from memrelay.errors import ConfigError
from memrelay.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
INSTRUCTIONS = (
    "Long-term memory. What is stored is accepted at once and can be found a moment later. Texts are "
    "kept as they are given: nothing is extracted, merged or summarized."
)


class Served:
    """The endpoint. Its sessions are those of one event loop, and cannot be started twice."""

    def __init__(self, settings: Settings) -> None:
        self._server = MCPServer(
            "memrelay",
            version=__version__,
            instructions=INSTRUCTIONS,
            tools=tools(settings.mcp_toolsets),
            log_level="WARNING",
            subscriptions=False,
        )
        # Of the application only its sessions: mounted, it would answer every path that we do not know.
        self._server.streamable_http_app(
            stateless_http=True,
            json_response=True,
            max_request_body_size=settings.body_limit,
            transport_security=security(settings),
        )
        self._started, self._ended = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To POST alone: a stream that a GET opened would carry nothing, and keep us from ending."""
        if scope["method"] != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        await self._server.session_manager.handle_request(scope, receive, send)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="mcp")
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            await self._task  # raises what it died of

    async def close(self) -> None:
        """Breaks off what is under way."""
        self._ended.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        """In a task of its own: what is entered here must be left by the same one."""
        async with self._server.session_manager.run():
            self._started.set()
            await self._ended.wait()


def tools(toolsets: Sequence[str]) -> list[Tool]:
    """All tools of these; ``ConfigError`` if two have one of the same name."""
    found: dict[str, Tool] = {}
    owners: dict[str, str] = {}
    for toolset in dict.fromkeys(toolsets):
        offered: Toolset = import_module(f"api.mcp.{toolset}").TOOLSET
        for tool in offered.tools():
            if tool.name in found:
                raise ConfigError(
                    f"setting mcp_toolsets: {owners[tool.name]} and {toolset} both have a tool "
                    f"{tool.name}; serve one of them"
                )
            found[tool.name], owners[tool.name] = tool, toolset
    return list(found.values())


def security(settings: Settings) -> TransportSecuritySettings:
    """Who is answered: loopback's names, the configured ones, with any port. Others get 421 or 403.

    So a web page elsewhere cannot reach a server on this machine by a name that it lets point here.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    hosts = [*LOOPBACK, host, *settings.mcp_hosts]
    origins = [*(f"http://{name}" for name in LOOPBACK), *settings.mcp_origins]
    return TransportSecuritySettings(
        allowed_hosts=[form for name in hosts for form in (name, f"{name}:*")],
        allowed_origins=[form for name in origins for form in (name, f"{name}:*")],
    )
