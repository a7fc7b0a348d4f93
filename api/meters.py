"""What an API process measures itself, by the names of ``backends/metrics.py``."""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

from prometheus_client import Counter, Histogram, disable_created_metrics
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.metrics import BY_NAME, SECONDS, Name

disable_created_metrics()  # type: ignore[no-untyped-call] # a series more for each, which nobody asks for
NO_ROUTE = "none"


def _counter(name: Name) -> Counter:
    metric = BY_NAME[name]
    return Counter(name, metric.help, metric.labels)


def _histogram(name: Name) -> Histogram:
    metric = BY_NAME[name]
    return Histogram(name, metric.help, metric.labels, buckets=SECONDS)


HTTP_REQUESTS = _counter("memrelay_http_requests_total")
HTTP_SECONDS = _histogram("memrelay_http_request_seconds")
SEARCHES = _counter("memrelay_searches_total")
FALLBACKS = _counter("memrelay_search_fallbacks_total")
SEARCH_SECONDS = _histogram("memrelay_search_seconds")


class _Series(NamedTuple):
    """Those of one kind of answer."""

    requests: Counter
    seconds: Histogram


@functools.cache
def _series(route: str, method: str, status: int) -> _Series:
    return _Series(HTTP_REQUESTS.labels(route, method, str(status)), HTTP_SECONDS.labels(route))


class Measured:
    """Counts every request by its route's pattern, and how long its answer took to begin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def seen(message: Any) -> None:
            if message["type"] == "http.response.start":
                series = _series(route_of(scope), method_of(scope), message["status"])
                series.requests.inc()
                series.seconds.observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, seen)


def route_of(scope: Scope) -> str:
    """The pattern of the route that took the request; ``none`` where there is none."""
    if "route" in scope:
        return str(scope["route"].path_format)
    if "endpoint" not in scope:
        return NO_ROUTE
    if scope["path_params"]:
        return "other"
    return str(
        scope.get("root_path") or scope["path"]
    )  # of a mount, or of a route without parameters


def method_of(scope: Scope) -> str:
    """Anybody may send any."""
    method: str = scope["method"]
    return method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD") else "other"
