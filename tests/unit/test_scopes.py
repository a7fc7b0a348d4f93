"""What each route needs of a caller: said for all of them, in one table."""

from __future__ import annotations

import re

import pytest
from fastapi import APIRouter
from starlette.routing import BaseRoute, Route

from api import mcp
from api.app import described
from api.auth import is_page
from api.scopes import ADMIN, ANY, OPEN, OPERATOR, READ, ROUTES, SCRAPE, WRITE, Need, need_of


async def _nothing() -> None:
    """An endpoint."""


def _all() -> list[BaseRoute]:
    return [*described().routes, Route(mcp.PATH, _nothing)]


def _route(method: str, path: str) -> BaseRoute:
    router = APIRouter()
    router.add_api_route(path, _nothing, methods=[method])
    return router.routes[0]


def test_every_route_says_what_it_needs() -> None:
    needs = [need_of(route) for route in _all()]
    assert len(needs) > 40
    assert set(needs) == set(ROUTES)


def test_a_route_that_says_nothing_is_refused_with_the_mend() -> None:
    with pytest.raises(LookupError, match=r"/v1/new/\{id\} need of a caller.*api/scopes.py"):
        need_of(_route("GET", "/v1/new/{id}"))
    with pytest.raises(LookupError, match="/v1/search"):
        need_of(_route("GET", "/v1/search"))


def test_methods_of_one_route_that_need_different_things_are_refused() -> None:
    router = APIRouter()
    router.add_api_route("/v1/memories/{id}", _nothing, methods=["GET", "DELETE"])
    with pytest.raises(LookupError):
        need_of(router.routes[0])


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/healthz", OPEN),
        ("GET", "/readyz", OPEN),
        ("GET", "/docs", OPEN),
        ("GET", "/metrics", SCRAPE),
        ("POST", "/v1/memories", WRITE),
        ("DELETE", "/v1/memories/{any}", WRITE),
        ("GET", "/v1/memories/{any}", READ),
        ("POST", "/v1/search", READ),
        ("GET", "/v1/jobs/{any}", ANY),
        ("POST", "/v1/memories/purge", ADMIN),
        ("POST", "/v1/keys", ADMIN),
        ("POST", "/v1/drivers/{any}/detach", OPERATOR),
        ("POST", "/ui/drivers/{any}/detach", OPERATOR),
        ("GET", "/ui/anything/{else}", None),
    ],
)
def test_the_table_says(method: str, path: str, need: Need | None) -> None:
    if need is None:
        with pytest.raises(LookupError):
            need_of(_route(method, path))
    else:
        assert need_of(_route(method, path)) == need


def test_only_what_must_be_is_open() -> None:
    allowed = ("/healthz", "/readyz", "/openapi.json", "/docs", "/ui/login", "/ui/logout")
    paths = [line.split()[1] for line in ROUTES[OPEN].strip().splitlines()]
    assert all(path.startswith((*allowed, "/ui/static/")) for path in paths)


def test_what_is_served_is_described() -> None:
    """In the API's description, or a page, or one of the few that are neither."""
    app = described()
    documented = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    served = {
        f"{method} {re.sub(r':[a-z]+}', '}', route.path)}"
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert documented <= served
    rest = {line for line in served - documented if not is_page(line.split()[1])}
    assert {line for line in rest if not line.startswith("HEAD ")} == {
        "GET /openapi.json",
        "GET /docs",
    }
