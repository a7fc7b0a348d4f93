"""The application: routes, errors, and what lives as long as it does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api import (
    accept,
    apikeys,
    batches,
    dashboard,
    dead_letters,
    deleting,
    drivers,
    handlers,
    health,
    jobs,
    keylisting,
    keys,
    keysearch,
    limits,
    listing,
    mcp,
    openapi,
    patching,
    read,
    search,
    sources,
)
from api import importing as imports
from api.announce import Announcer
from api.aside import Aside
from api.auth import guarded
from api.commit import Commits
from api.dashboard.page import error_page
from api.feeds import Feeds
from api.keyring import Keyring
from api.lag import Lag
from api.meters import Measured
from api.state import State
from api.traced import Traced
from api.waiters import Waiters
from backends import tracing
from backends.broker import Publisher, create_app
from backends.embedding.cache import CachedEmbedder, QueryCache
from backends.journal import Journal, check_durable, limits_of
from backends.logs import about
from backends.sources import enter_members, open_sources
from memrelay import __version__
from memrelay.pacing import Pace
from memrelay.settings import Settings

REQUEST_ID_MAX = 64
QUERIES = 10_000
MODULES = (
    accept,
    deleting,
    search,
    listing,
    imports,
    read,
    patching,
    jobs,
    dead_letters,
    drivers,
    sources,
    keys,
    keylisting,
    keysearch,
    batches,
    limits,
    apikeys,
    health,
)


class RequestId:
    """Every request has an id, the caller's if it gave a sane one, and every answer shows it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id = _given_id(scope) or os.urandom(12).hex().encode()
        scope["request_id"] = id.decode()
        header = (b"x-request-id", id)

        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append(header)
            await send(message)

        with about(request_id=scope["request_id"]):
            await self._app(scope, receive, stamped)


def _given_id(scope: Scope) -> bytes | None:
    """The caller's id if it is short and plain."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            sane: bool = 0 < len(value) <= REQUEST_ID_MAX and value.isalnum()
            return value if sane else None
    return None


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[State]:
    """Everything the routes need; ``ConfigError`` or ``Unavailable`` if it cannot be had."""
    agents = mcp.endpoint(settings)
    async with AsyncExitStack() as stack:  # what was opened last is closed first
        tracing.start("memrelay-api")
        stack.callback(tracing.stop)
        journal = Journal(
            settings.journal_url,
            limits=limits_of(settings),
            replicas=settings.journal_replicas,
        )
        stack.push_async_callback(journal.close)
        await check_durable(journal, settings)
        queries: Counter[str] = Counter()
        keyring = Keyring(journal, settings.namespace, admin_key=settings.admin_key_text)
        stack.push_async_callback(keyring.close)
        await keyring.start()
        opened = await open_sources(
            settings, lambda e: CachedEmbedder(e, QueryCache(QUERIES), queries), writes=False
        )
        stack.push_async_callback(opened.close)
        await enter_members(journal, settings)
        await opened.look(journal)
        waiters = Waiters(journal)
        stack.push_async_callback(waiters.close)
        announcer = Announcer(Publisher(create_app(settings)))
        stack.callback(announcer.close)
        pace = Pace(lambda: journal.hurried, share=settings.bulk_share)
        commit = Commits(
            journal.append, announcer.announce, linger=settings.linger_ms / 1000, pace=pace
        )
        stack.push_async_callback(commit.close)
        aside = Aside(opened.brought, pace)
        stack.push_async_callback(aside.close)
        await aside.start()
        lag = Lag(journal, opened, settings.namespace)
        stack.push_async_callback(lag.close)
        stack.push_async_callback(agents.close)
        await agents.start()
        yield State(
            settings,
            journal,
            opened,
            commit,
            announcer,
            waiters,
            lag,
            aside,
            agents,
            queries,
            keyring,
            Feeds(),
        )


def described() -> FastAPI:
    """The application with its routes and their description; it serves nothing yet."""
    app = FastAPI(
        title="memrelay",
        version=__version__,
        description="Memories for AI agents: queued writes that can be checked, replicated searches.",
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load their scripts from another host
        redoc_url=None,
    )
    routes: list[BaseRoute] = []
    for module in (*MODULES, *dashboard.MODULES):
        routes += module.router.routes
    app.router.routes[:0] = routes  # include_router would cost every request a detour
    openapi.install(app)
    return app


def create(state: State) -> FastAPI:
    """The application on an open state."""
    app = described()
    app.state.memrelay = state
    app.router.routes.append(Route(mcp.PATH, state.mcp))
    app.router.routes[:] = guarded(app.router.routes, error_page)
    handlers.install(app)
    app.add_middleware(RequestId)
    app.add_middleware(Measured)
    if tracing.active():
        app.add_middleware(Traced)
    return app
