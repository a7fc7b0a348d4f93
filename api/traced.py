"""A span for every request, inside its caller's trace where it brings a ``traceparent``."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from api.meters import method_of, route_of
from backends.tracing import span

QUIET = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds, by machines."""


class Traced:
    """Around everything but ``QUIET``; only there where tracing is on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        parent = _traceparent(scope)
        with span("request", kind="server", parent=parent) as request:

            async def seen(message: Any) -> None:
                if message["type"] == "http.response.start":
                    route, status = route_of(scope), message["status"]
                    request.rename(f"{method_of(scope)} {route}")
                    request.tell("http.request.method", method_of(scope))
                    request.tell("http.route", route)
                    request.tell("http.response.status_code", status)
                    request.tell("memrelay.request_id", scope.get("request_id", ""))
                    if status >= 500:
                        request.failed(str(status))
                await send(message)

            await self._app(scope, receive, seen)


def _traceparent(scope: Scope) -> str:
    """The caller's, as it came: what is none starts a trace of its own."""
    for name, value in scope["headers"]:
        if name == b"traceparent":
            text: str = value.decode("latin-1")
            return text
    return ""
