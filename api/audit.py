"""Who asked for what an administrator does: a line in the log for each such request, done or refused."""

from __future__ import annotations

import logging
import re
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.keyring import Grant
from api.meters import method_of, route_of
from api.problems import Problem, of
from backends.logs import about
from memrelay.errors import MemrelayError

log = logging.getLogger("memrelay.audit")
NOTES = "memrelay.audit"
"""Under this name what the handler has noted is in the ASGI scope."""
GRANT = "memrelay.grant"
"""Under this name the grant is in the ASGI scope."""
_PLAIN = re.compile(r"[\w.,:@-]{1,64}", re.ASCII)


def note(request: Request, **what: str | int) -> None:
    """Add to the line of this request, if it has one: counts, and names of ours, no texts of callers."""
    request.scope.get(NOTES, {}).update({name: str(value) for name, value in what.items()})


class Audited:
    """Around a route. A request without a good key is nobody's, and has no line: 401 can be had by anyone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[NOTES] = {}
        status = 500

        async def seen(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except (Problem, MemrelayError) as error:
            status = of(error).status
            raise
        finally:
            _tell(scope, status)


def _tell(scope: Scope, status: int) -> None:
    grant = scope.get(GRANT)
    if not isinstance(grant, Grant) or not grant.namespace:
        return
    targets = {f"target_{name}": str(value) for name, value in scope["path_params"].items()}
    told = {
        "key": grant.key_id or "none",
        "namespace": grant.namespace,
        "status": str(status),
        **targets,
        **scope[NOTES],
    }
    plain = {name: it if _PLAIN.fullmatch(it) else "?" for name, it in told.items()}
    with about(**plain):
        log.info("%s %s", method_of(scope), route_of(scope))
