"""What each route needs of a caller, once there are API keys: all of it, in one table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.routing import BaseRoute, Mount, Route

from api.mcp import PATH as MCP
from memrelay.apikeys import KeyScope

_PARAMETER = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Need:
    """Any of ``scopes``; none of them: everybody may. ``everywhere``: it concerns more than one namespace,
    so the key has to be of the installation's own. ``audited``: who asks for a change is logged."""

    scopes: tuple[KeyScope, ...]
    everywhere: bool = False
    audited: bool = False


OPEN = Need(())
READ = Need(("read",))
WRITE = Need(("write",))
ANY = Need(("read", "write"))
"""What those who only write need as well: their jobs, and how much they may send."""
ENDING = Need(("write",), audited=True)
"""Writes that end much at once."""
ADMIN = Need(("admin",), audited=True)
OPERATOR = Need(("admin",), everywhere=True, audited=True)
SCRAPE = Need(("read",), everywhere=True)

ROUTES: Mapping[Need, str] = {
    OPEN: """
        GET /healthz
        GET /readyz
        GET /openapi.json
        GET /docs
        GET /ui/login
        POST /ui/login
        POST /ui/logout
        GET /ui/static/{digest}/{name}
    """,
    READ: """
        GET /v1/memories/{id}
        POST /v1/memories/list
        POST /v1/memories/count
        POST /v1/search
        GET /v1/dead-letters
        GET /v1/drivers
        GET /v1/sources
        GET /v1/sources/{source}
        GET /v1/sources/{source}/keys
        GET /v1/sources/{source}/keys/{key}
        HEAD /v1/sources/{source}/keys/{key}
        POST /v1/sources/{source}/search
        POST /v1/sources/{source}/count
        GET /
        GET /ui/jobs
        GET /ui/jobs/{id}
        GET /ui/search
        GET /ui/drivers
        GET /ui/dead-letters
        GET /ui/keys
        GET /ui/events
        * /ui/{path}
    """,
    WRITE: """
        POST /v1/memories
        POST /v1/memories/import
        PATCH /v1/memories/{id}
        DELETE /v1/memories/{id}
        POST /v1/memories/delete
        PUT /v1/sources/{source}/keys/{key}
        DELETE /v1/sources/{source}/keys/{key}
        POST /v1/sources/{source}/batch
    """,
    ENDING: """
        POST /v1/jobs/cancel
        DELETE /v1/sources/{source}
    """,
    ANY: f"""
        GET /v1/jobs
        GET /v1/jobs/{{id}}
        GET /v1/jobs/{{id}}/events
        GET /v1/limits
        GET /v1/usage
        * {MCP}
    """,
    ADMIN: """
        POST /v1/memories/purge
        POST /v1/dead-letters/replay
        POST /v1/dead-letters/delete
        GET /v1/keys
        POST /v1/keys
        DELETE /v1/keys/{id}
        POST /ui/keys
        POST /ui/keys/{id}/revoke
        POST /ui/dead-letters/replay
        POST /ui/dead-letters/delete
    """,
    OPERATOR: """
        POST /v1/dead-letters/resume
        POST /v1/drivers/{name}/sync
        POST /v1/drivers/{name}/detach
        POST /v1/drivers/{name}/retire
        POST /v1/drivers/{name}/join
        POST /ui/dead-letters/resume
        POST /ui/drivers/{name}/sync
        POST /ui/drivers/{name}/detach
        POST /ui/drivers/{name}/retire
        POST /ui/drivers/{name}/join
    """,
    SCRAPE: """
        GET /metrics
    """,
}
"""A line for each method and path; ``*`` stands for all methods that have no line."""


def _form(method: str, path: str) -> str:
    """As in the table, whatever the parameters are called."""
    return f"{method} {_PARAMETER.sub('{}', path)}"


_NEEDS = {
    _form(*line.split()): need
    for need, lines in ROUTES.items()
    for line in lines.strip().splitlines()
}


def need_of(route: BaseRoute) -> Need:
    """By the table; ``LookupError`` for a route that is not in it, or whose methods need different things."""
    assert isinstance(route, Route | Mount)
    found = {
        _NEEDS.get(_form(method, route.path), _NEEDS.get(_form("*", route.path)))
        for method in _methods(route)
    }
    need = found.pop() if len(found) == 1 else None
    if need is None:
        raise LookupError(f"what does {route.path} need of a caller? Say it in api/scopes.py")
    return need


def _methods(route: Route | Mount) -> Iterable[str]:
    """Without the HEAD that Starlette adds to each GET."""
    methods = (isinstance(route, Route) and route.methods) or {"*"}
    return methods - {"HEAD"} if "GET" in methods else methods
