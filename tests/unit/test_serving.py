"""Which route takes a request: the first that matches, as Starlette's router says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import Request, Response
from starlette.routing import Route, Router

from api.serving import Application, Routes


def _named(name: str) -> Any:
    async def answer(request: Request) -> Response:
        return Response(f"{name} {dict(request.path_params)}")

    return answer


ROUTES = [
    Route("/a", _named("a"), methods=["POST"]),
    Route("/things/{id}", _named("thing")),
    Route("/things/all", _named("hidden by the one before")),
    Route("/things/all", _named("deleted"), methods=["DELETE"]),
    Route("/a", _named("got")),
    Route("/any", _named("second"), methods=["GET", "PUT"]),
    Route("/any", _named("third"), methods=["PUT"]),
]


async def _ask(app: Any, method: str, path: str) -> tuple[int, str]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.request(method, path)
    return answer.status_code, answer.text


@pytest.mark.parametrize("path", ["/a", "/things/1", "/things/all", "/any", "/no", "/a/", "/A"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"])
async def test_it_is_the_route_that_starlette_finds(method: str, path: str) -> None:
    routes = list(ROUTES)
    theirs = Router(routes, redirect_slashes=False)
    assert await _ask(Routes(routes), method, path) == await _ask(theirs, method, path)


async def test_an_error_after_the_answer_has_begun_is_left_to_the_server() -> None:
    """Which closes the connection: nobody takes half an answer for a whole one."""

    class Broken(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError("in the middle")

    async def broken(request: Request) -> Response:
        return Broken()

    app = Application()
    app.router.routes[:] = [Route("/broken", broken)]
    with pytest.raises(RuntimeError, match="in the middle"):
        await _ask(app, "GET", "/broken")
