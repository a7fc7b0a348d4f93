"""Whatever a route raises becomes a problem; apart from ``api.problems``, which the process aside reads with
and which therefore needs no FastAPI."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.problems import MAX_ERRORS, TITLES, Problem, invalid, message_of, of, pointer_of
from memrelay.errors import InvalidInput, Permanent, Transient


def from_parameters(error: RequestValidationError) -> Problem:
    """FastAPI's findings on the query's parameters; each pointer is the parameter's name."""
    items = error.errors()[:MAX_ERRORS]
    return invalid([(pointer_of(item["loc"][1:]), message_of(item)) for item in items])


def install(app: FastAPI) -> None:
    """Every error of every route becomes a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        return of(error).response(request.scope.get("request_id", ""))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = TITLES.get(error.status_code, "Error")
        code = title.lower().replace(" ", "_")
        detail = "There is no such object." if error.status_code == 404 else title
        problem = Problem(error.status_code, code, detail)
        response = problem.response(request.scope.get("request_id", ""))
        response.headers.update(error.headers or {})
        return response

    async def parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return from_parameters(error).response(request.scope.get("request_id", ""))

    for kind in (Problem, InvalidInput, Transient, Permanent, Exception):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, parameters)
