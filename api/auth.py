"""Who calls, and what they may do: asked at every route, before anything of the request is read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.audit import GRANT, Audited
from api.keyring import Grant, Keyring
from api.mcp import PATH as MCP
from api.problems import LOGIN, Problem, of, refused
from api.scopes import OPEN, Need, need_of
from memrelay.errors import MemrelayError, Unavailable

COOKIE = "memrelay_key"
NO_KEY = "An API key is needed: Authorization: Bearer mr_…"
NOT_GOOD = "The API key is not good: unknown, revoked or expired."
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
NOBODY = Grant("", frozenset(), "")

type Headers = dict[bytes, bytes]
type Show = Callable[[Request, Problem], Response]
"""How a problem is shown to people."""


def grant_of(request: Request) -> Grant:
    """What the caller may do; there is one for every route that is not open to all."""
    grant = request.scope[GRANT]
    assert isinstance(grant, Grant)
    return grant


def bearer_of(headers: Headers) -> str | None:
    """The key of the Authorization header; empty if there is something else in it."""
    value = headers.get(b"authorization")
    if value is None:
        return None
    kind, _, key = value.decode("latin-1").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def cookie_of(headers: Headers) -> str | None:
    """The key of our cookie, if it is there."""
    header = headers.get(b"cookie", b"").decode("latin-1")
    if COOKIE not in header:
        return None
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def check_origin(headers: Headers, *, cookie: bool) -> None:
    """403 unless a page of ours, or none, sent it. Over plain HTTP browsers tell by Origin alone."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None:
        same = site in (b"same-origin", b"none")
    elif origin is not None:
        own = headers.get(b"host", b"").decode("latin-1")
        same = urlsplit(origin.decode("latin-1")).netloc == own
    else:
        same = not cookie
    if not same:
        raise Problem(403, "other_origin", "A web page elsewhere may not ask for this.")


class Guard:
    """A route behind its need: 401 without a good key, 403 with one that may not, 503 if nobody can say.

    A web page elsewhere can have a browser send what changes something, if only to a service on its own
    machine that asks for no key: that is 403 as well. MCP has rules of its own for that.
    """

    def __init__(self, app: ASGIApp, path: str, need: Need, show: Show) -> None:
        self._app = app
        self._need = need
        self._page = is_page(path)
        self._elsewhere = path == MCP
        self._show = show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["app"].state.memrelay
        headers: Headers = dict(scope["headers"])
        bearer = bearer_of(headers)
        cookie = cookie_of(headers) if self._page and bearer is None else None
        scope[GRANT] = NOBODY
        try:
            if scope["method"] not in SAFE and not bearer and not self._elsewhere:
                check_origin(headers, cookie=cookie is not None)
            scope[GRANT] = grant = await self._granted(state.keyring, bearer or cookie)
            self._check(grant, state.settings.namespace)
        except (Problem, MemrelayError) as error:
            if not self._page:
                raise
            await self._page_of(Request(scope), of(error))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _page_of(self, request: Request, problem: Problem) -> Response:
        """What people see instead of the page that they asked for: the login, if that is what it takes."""
        if problem.status != 401:
            return self._show(request, problem)
        if "hx-request" in request.headers:
            return problem.response(request.scope.get("request_id", ""))
        return RedirectResponse(LOGIN, 303)

    async def _granted(self, keyring: Keyring, key: str | None) -> Grant:
        if not keyring.locked:
            return keyring.everybody
        if self._need == OPEN:
            return NOBODY
        if not key:
            raise refused(NO_KEY, shown=False, login=self._page)
        grant = await keyring.grant(key)
        if grant is None:
            raise refused(NOT_GOOD, login=self._page)
        return grant

    def _check(self, grant: Grant, home: str) -> None:
        """Whether it is enough for the route."""
        scopes = self._need.scopes
        if not scopes:
            return
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


def guarded(routes: Sequence[BaseRoute], show: Show) -> list[BaseRoute]:
    """The routes, each behind its need; ``LookupError`` for one that is not in the table."""
    return [_guarded(route, show) for route in routes]


def _guarded(route: BaseRoute, show: Show) -> BaseRoute:
    need = need_of(route)
    assert isinstance(route, Route | Mount)
    if need == OPEN and not is_page(route.path):
        return route
    route = copy.copy(route)  # routes are their modules', and applications are made more than once
    route.app = Guard(route.app, route.path, need, show)
    if need.audited and isinstance(route, Route) and not SAFE.issuperset(route.methods or ()):
        route.app = Audited(route.app)
    return route
