"""MCP at ``/mcp``: memrelay's memories as the tools that agents know by name, a file for each set of names.

Stateless streamable HTTP. The package ``mcp`` comes with the extra of that name; where it is missing, or
an older one than ours that something else wants, or no toolset is wanted, the path says so.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from starlette.types import Receive, Scope, Send

from api.problems import Problem
from memrelay.settings import Settings

PATH = "/mcp"
EXTRA = "mcp"
SINCE, NOWHERE = 2, 0


class Endpoint(Protocol):
    """What answers at ``/mcp``, once it has been started."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class Absent:
    """The one that says why there is none."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._problem.response(scope.get("request_id", ""))
        await response(scope, receive, send)

    async def start(self) -> None:
        """There is nothing to start."""

    async def close(self) -> None:
        """There is nothing to close."""


class Later:
    """The one of a single toolset, made for the first request: the package takes 0.6 s and 26 MiB, and most
    services are asked nothing over MCP."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._making = asyncio.Lock()
        self._served: Endpoint | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._making:
            if self._served is None:
                self._served = await self._made()
        await self._served(scope, receive, send)

    async def start(self) -> None:
        """There is nothing to start yet."""

    async def close(self) -> None:
        if self._served is not None:
            await self._served.close()

    async def _made(self) -> Endpoint:
        """Imported in a thread: other requests go on meanwhile."""
        served = await asyncio.to_thread(_served, self._settings)
        await served.start()
        return served


def endpoint(settings: Settings) -> Endpoint:
    """The one that the settings ask for, not started; ``ConfigError`` if they cannot be met."""
    if not settings.mcp_toolsets:
        detail = 'No toolset is served over MCP; the setting mcp_toolsets = ["mem0"] does.'
        return Absent(Problem(404, "no_toolset", detail))
    if (found := _installed()) < SINCE:
        what = "is not installed here" if found == NOWHERE else "is here in a version below 2"
        detail = f"MCP needs the package mcp, which {what}: pip install 'memrelay[server,mcp]'."
        return Absent(Problem(501, "no_mcp", detail))
    # Of several it has to be seen at the start whether two have a tool of the same name.
    return Later(settings) if len(settings.mcp_toolsets) == 1 else _served(settings)


def _served(settings: Settings) -> Endpoint:
    served: Endpoint = import_module("api.mcp.server").Served(settings)
    return served


def _installed() -> int:
    """The first number of the version of ``mcp``."""
    try:
        return int(version(EXTRA).partition(".")[0])
    except PackageNotFoundError:
        return NOWHERE
