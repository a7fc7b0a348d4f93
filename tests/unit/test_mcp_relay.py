"""The way of MCP's tools to our own routes."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from api.mcp.relay import URL, Routes
from memrelay import AsyncMemrelay


async def test_no_key_of_the_server_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that says which write is repeated, for none is."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(Request(scope).headers)
        job = {"id": "job_1_1", "status": "accepted"}
        await JSONResponse({"job": job, "memories": []}, 202)(scope, receive, send)

    monkeypatch.setenv("MEMRELAY_API_KEY", "mr_of_the_server")
    async with AsyncMemrelay(URL, transport=Routes(app=app), patience=0) as relay:
        await relay.add("tea")
    assert "content-type" in seen
    assert not {"authorization", "idempotency-key"} & set(seen)
