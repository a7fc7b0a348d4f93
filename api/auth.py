"""Who calls, and what they may do: asked at every route, before anything of the request is read."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Protocol
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.keyring import Grant, Keyring
from api.mcp import PATH as MCP
from api.problems import LOGIN, Problem, refused
from api.scopes import OPEN, Need, need_of
from memrelay.errors import Unavailable
from memrelay.settings import Settings

GRANT = "memrelay.grant"
"""Under this name the grant is in the ASGI scope."""
COOKIE = "memrelay_key"
NO_KEY = "An API key is needed: Authorization: Bearer mr_…"
NOT_GOOD = "The API key is not good: unknown, revoked or expired."
SAFE = ("GET", "HEAD", "OPTIONS")


def grant_of(request: Request) -> Grant:
    """What the caller may do; there is one for every route that is not open to all."""
    grant = request.scope[GRANT]
    assert isinstance(grant, Grant)
    return grant


class Home(Protocol):
    """What is known of the process."""

    @property
    def keyring(self) -> Keyring: ...

    @property
    def settings(self) -> Settings: ...


@dataclass(slots=True)
class Shown:
    """What a request says of its caller."""

    bearer: str | None = None
    cookie: str | None = None
    htmx: bool = False
    site: str = ""
    origin: str = ""
    host: str = ""

    def check_origin(self) -> None:
        """403 unless a page of ours, or none, sent it. Over plain HTTP browsers tell by Origin alone."""
        if self.site:
            same = self.site in ("same-origin", "none")
        elif self.origin:
            same = urlsplit(self.origin).netloc == self.host
        else:
            same = self.cookie is None
        if not same:
            raise Problem(403, "other_origin", "A web page elsewhere may not ask for this.")


def shown(scope: Scope, *, cookies: bool) -> Shown:
    """By the request's headers. Without ``cookies`` none is read: they are for pages."""
    it = Shown()
    for name, value in scope["headers"]:
        match name:
            case b"authorization":
                kind, _, key = value.decode("latin-1").partition(" ")
                it.bearer = key.strip() if kind.lower() == "bearer" else ""
            case b"cookie" if cookies:
                it.cookie = _cookie(value.decode("latin-1"))
            case b"sec-fetch-site":
                it.site = value.decode("latin-1")
            case b"origin":
                it.origin = value.decode("latin-1")
            case b"host":
                it.host = value.decode("latin-1")
            case b"hx-request":
                it.htmx = True
    return it


def _cookie(header: str) -> str | None:
    """Ours, if it is there."""
    if COOKIE not in header:
        return None
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


class Guard:
    """A route behind its need: 401 without a good key, 403 with one that may not, 503 if nobody can say.

    A web page elsewhere can have a browser send what changes something, if only to a service on its own
    machine that asks for no key: that is 403 as well. MCP has rules of its own for that.
    """

    def __init__(self, app: ASGIApp, path: str, need: Need) -> None:
        self._app = app
        self._need = need
        self._page = is_page(path)
        self._elsewhere = path == MCP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["app"].state.memrelay
        said = shown(scope, cookies=self._page)
        if scope["method"] not in SAFE and not said.bearer and not self._elsewhere:
            said.check_origin()
        if self._need != OPEN:
            try:
                scope[GRANT] = await self._granted(state, said)
            except Problem as problem:
                if not self._page or problem.status != 401 or said.htmx or scope["method"] != "GET":
                    raise
                await RedirectResponse(LOGIN, 303)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _granted(self, state: Home, said: Shown) -> Grant:
        keyring = state.keyring
        if not keyring.locked:
            return keyring.everybody
        key = said.cookie if said.bearer is None else said.bearer
        if not key:
            raise refused(NO_KEY, shown=False, login=self._page)
        grant = await keyring.grant(key)
        if grant is None:
            raise refused(NOT_GOOD, login=self._page)
        self._check(grant, state.settings.namespace)
        return grant

    def _check(self, grant: Grant, home: str) -> None:
        """Whether it is enough for the route."""
        scopes = self._need.scopes
        if not any(grant.may(scope) for scope in scopes):
            raise Problem(
                403, "forbidden", f"This needs a key with the scope {' or '.join(scopes)}."
            )
        if self._need.everywhere and grant.namespace != home:
            detail = "This concerns all namespaces: it needs a key of the installation's own."
            raise Problem(403, "forbidden", detail)
        if not grant.sure and "read" not in scopes:
            raise Unavailable("the journal cannot say whether the API key is still good")


def is_page(path: str) -> bool:
    """Whether people come there with a browser, which brings its key in a cookie."""
    return path == "/" or path.startswith("/ui/")


def guarded(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """The routes, each behind its need; ``LookupError`` for one that is not in the table."""
    return [_guarded(route) for route in routes]


def _guarded(route: BaseRoute) -> BaseRoute:
    need = need_of(route)
    assert isinstance(route, Route | Mount)
    if need == OPEN and not is_page(route.path):
        return route
    route = copy.copy(route)  # routes are their modules', and applications are made more than once
    route.app = Guard(route.app, route.path, need)
    return route
