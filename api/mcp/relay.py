"""How tools reach memrelay: our own client on our own routes, inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import Request
from mcp.server.mcpserver import Context
from starlette.types import ASGIApp

from api.state import state_of
from memrelay.client import AsyncMemrelay
from memrelay.settings import Settings

URL = "http://127.0.0.1"

Asked = Context[Any, Request]
"""The call of a tool."""


class Routes(httpx.ASGITransport):
    """The routes of the application that the call came to, with the ``key`` that it came with.

    No API key of this process's environment goes along. Nor does an Idempotency-Key: nothing asked in
    here is repeated, and writes without one share envelopes.
    """

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        super().__init__(app=app, raise_app_exceptions=False)
        self._key = key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for header in ("authorization", "idempotency-key"):
            request.headers.pop(header, None)
        if self._key is not None:
            request.headers["authorization"] = self._key
        return await super().handle_async_request(request)


@asynccontextmanager
async def relay_of(asked: Asked) -> AsyncIterator[AsyncMemrelay]:
    """Nothing is repeated: the agent is told when to try again."""
    request = _request(asked)
    routes = Routes(request.app, request.headers.get("authorization"))
    async with AsyncMemrelay(URL, transport=routes, patience=0) as relay:
        yield relay


def settings_of(asked: Asked) -> Settings:
    return state_of(_request(asked)).settings


def _request(asked: Asked) -> Request:
    request = asked.request_context.request
    assert request is not None, "over HTTP every call has one"
    return request
