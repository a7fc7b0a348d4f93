"""The way of MCP's tools to our own routes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from api.mcp.relay import URL, Routes
from memrelay import AsyncMemrelay


@pytest.mark.parametrize("key", [None, "Bearer mr_of_the_agent"])
async def test_the_key_of_the_agent_goes_along_and_none_of_the_server(
    monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """Nor one that says which write is repeated, for none is."""
    seen: dict[str, str] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(Request(scope).headers)
        job = {"id": "job_1_1", "status": "accepted"}
        await JSONResponse({"job": job, "memories": []}, 202)(scope, receive, send)

    monkeypatch.setenv("MEMRELAY_API_KEY", "mr_of_the_server")
    async with AsyncMemrelay(URL, transport=Routes(app, key), patience=0) as relay:
        await relay.add("tea")
    assert "content-type" in seen
    assert "idempotency-key" not in seen
    assert seen.get("authorization") == key
