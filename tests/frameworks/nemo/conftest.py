"""A user of one's own and a NAT of one's own for each test; the memrelay is that of ``MEMRELAY_URL``."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx
import pytest
from nat.builder.workflow_builder import WorkflowBuilder
from nat.plugin_api import Context, MemoryEditor
from nat.plugins.memrelay.register import MemrelayMemoryConfig
from nat.runtime.loader import PluginTypes, discover_and_register_plugins

from memrelay import AsyncMemrelay

type MakeEditor = Callable[..., Any]


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    discover_and_register_plugins(PluginTypes.CONFIG_OBJECT)


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


@pytest.fixture
async def relay() -> AsyncIterator[AsyncMemrelay]:
    """Past NAT."""
    async with AsyncMemrelay() as relay:
        yield relay


@pytest.fixture
async def make_editor() -> AsyncIterator[MakeEditor]:
    """Has NAT build an editor with these settings."""
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> MemoryEditor:
            builder = await stack.enter_async_context(WorkflowBuilder())
            return await builder.add_memory_client("store", MemrelayMemoryConfig(**settings))

        yield make


@pytest.fixture
async def editor(make_editor: MakeEditor) -> MemoryEditor:
    return await make_editor()


@pytest.fixture
def session() -> Callable[..., AbstractContextManager[None]]:
    """Enters what NAT knows of the session that code runs in."""
    return Context.scope


class Proxy(BaseHTTPRequestHandler):
    """Hands requests on to memrelay, or does the next of ``faults``: a status, or ``answer lost``."""

    faults: list[int | str]
    requests: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.requests.append({**headers, "at": time.monotonic()})
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return self._answer(fault, b"{}", ("Retry-After", "1"))
        url = os.environ["MEMRELAY_URL"] + self.path
        passed_on = {k: v for k, v in headers.items() if k in ("content-type", "idempotency-key")}
        answer = httpx.post(url, content=body, headers=passed_on, timeout=60)
        if fault is None:
            self._answer(answer.status_code, answer.content)
        return None

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Served:
    """A proxy with its address."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.faults = Proxy.faults = []
        self.requests = Proxy.requests = []


@pytest.fixture
def proxy() -> Iterator[Served]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Served(server)
        server.shutdown()
