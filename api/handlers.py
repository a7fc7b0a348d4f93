"""The problem for whatever a route raises; apart from ``api.problems``, which needs no FastAPI: the process
aside reads with it."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from api.problems import MAX_ERRORS, TITLES, Problem, invalid, message_of, of, pointer_of


def problem_of(error: Exception, scope: Scope) -> Problem:
    """The answer for an error of ours, of FastAPI's (of the query's parameters) or of the router's."""
    match error:
        case RequestValidationError():
            items = error.errors()[:MAX_ERRORS]
            return invalid([(pointer_of(item["loc"][1:]), message_of(item)) for item in items])
        case HTTPException():
            return _of_router(error, scope)
    return of(error)


def _of_router(error: HTTPException, scope: Scope) -> Problem:
    """No such path, or not that method."""
    status = error.status_code
    title = TITLES.get(status, "Error")
    detail = "There is no such object." if status == 404 else title
    headers = dict(error.headers or {})
    if status == 405 and (methods := _methods(scope)):
        headers["Allow"] = ", ".join(sorted(methods))
    return Problem(status, title.lower().replace(" ", "_"), detail, headers=headers)


def _methods(scope: Scope) -> set[str]:
    """All that the path takes: the router's own error names those of its first route alone."""
    routes: list[BaseRoute] = scope["app"].router.routes
    found = (route for route in routes if route.matches(scope)[0] is not Match.NONE)
    return {method for route in found for method in getattr(route, "methods", None) or ()}
