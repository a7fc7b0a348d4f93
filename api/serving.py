"""What every request goes through on its way to its route: as little as can be.

FastAPI describes the routes and calls those that have parameters. Its own stack of middlewares costs a
request three times what our handlers do, and has nothing that we use.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from api.handlers import problem_of
from api.meters import Measured
from api.traced import Traced
from backends import tracing
from backends.logs import about

REQUEST_ID_MAX = 64


class Application(FastAPI):
    """FastAPI's routes and their description, served in our way. Nothing may be added once it serves."""

    _serve: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._serve is None:
            self._serve = self._assembled()
        scope["app"] = self
        await self._serve(scope, receive, send)

    def _assembled(self) -> ASGIApp:
        app: ASGIApp = Measured(Edge(Routes(self.router.routes)))
        return Traced(app) if tracing.active() else app


class Edge:
    """Every request has an id, the caller's if it gave a sane one, and every answer shows it; every error
    becomes a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id = _given_id(scope) or os.urandom(12).hex().encode()
        scope["request_id"] = id.decode()
        header = (b"x-request-id", id)
        begun = False

        async def stamped(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"].append(header)
            await send(message)

        with about(request_id=scope["request_id"]):
            try:
                await self._app(scope, receive, stamped)
            except Exception as error:
                if begun:
                    raise  # the server closes the connection, so that nobody takes it for whole
                response = problem_of(error, scope).response(scope["request_id"])
                await response(scope, receive, stamped)


def _given_id(scope: Scope) -> bytes | None:
    """The caller's id if it is short and plain."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            sane: bool = 0 < len(value) <= REQUEST_ID_MAX and value.isalnum()
            return value if sane else None
    return None


class Routes:
    """The first route that takes a request, as Starlette's router finds it; at once where the path has no
    parameters."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._router = Router(routes, redirect_slashes=False)
        self._at: dict[tuple[str, str], Route] = {}
        for route in routes:
            if isinstance(route, Route) and "{" not in route.path:
                for method in route.methods or ():
                    self._enter(method, route.path)

    def _enter(self, method: str, path: str) -> None:
        """An earlier route with parameters may take the path as well."""
        scope = {"type": "http", "method": method, "path": path}
        first = next(
            route for route in self._router.routes if route.matches(scope)[0] is Match.FULL
        )
        if isinstance(first, Route) and first.path == path:
            self._at[method, path] = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._at.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._router(scope, receive, send)
            return
        scope["route"], scope["endpoint"], scope["path_params"] = route, route.endpoint, {}
        await route.app(scope, receive, send)
