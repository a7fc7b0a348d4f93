"""The application: routes, errors, and what lives as long as it does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from api import accept, health, jobs, openapi, problems, read, search
from api import importing as imports
from api.announce import Announcer
from api.backlog import Backlog
from api.commit import GroupCommit
from api.state import State
from api.waiters import Waiters
from backends.broker import Publisher, create_app
from backends.embedding.cache import CachedEmbedder, QueryCache
from backends.journal import Journal, check_durable
from backends.sources import open_sources
from memrelay import __version__
from memrelay.settings import Settings

REQUEST_ID_MAX = 64
QUERIES = 10_000


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
    journal = Journal(settings.journal_url)
    try:
        await check_durable(journal, settings)
        sources = await open_sources(settings, lambda e: CachedEmbedder(e, QueryCache(QUERIES)))
    except BaseException:
        await journal.close()
        raise
    try:
        announcer = Announcer(Publisher(create_app(settings)))
        commit = GroupCommit(journal.append, announcer.announce, linger=settings.linger_ms / 1000)
        waiters = Waiters(journal)
        yield State(
            settings,
            journal,
            sources,
            commit,
            announcer,
            waiters,
            Backlog(journal),
        )
        await commit.close()
        announcer.close()
        await waiters.close()
        await sources.close()
    finally:
        await journal.close()


def create(state: State) -> FastAPI:
    """The application on an open state."""
    app = FastAPI(
        title="memrelay",
        version=__version__,
        description="Memories for AI agents: queued writes that can be checked, replicated searches.",
        redirect_slashes=False,
    )
    app.state.memrelay = state
    routes: list[BaseRoute] = []
    for module in (accept, search, imports, read, jobs, health):
        routes += module.router.routes
    app.router.routes[:0] = routes  # include_router would cost every request a detour
    problems.install(app)
    openapi.install(app)
    app.add_middleware(RequestId)
    return app
