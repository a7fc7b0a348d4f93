"""Logging in: the API key goes into a cookie that only pages read, and out of it again."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.auth import COOKIE
from api.dashboard.form import read_form
from api.dashboard.page import Page, page, see_other
from api.problems import LOGIN
from api.state import state_of

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get(LOGIN)
async def get_login(request: Request) -> Response:
    return page(request, "login.html", refused=False, locked=state_of(request).keyring.locked)


@router.post(LOGIN)
async def post_login(request: Request) -> Response:
    """To the overview with a good key; else the form again."""
    keyring = state_of(request).keyring
    key = (await read_form(request)).get("key", "").strip()
    if await keyring.grant(key) is None:
        return page(request, "login.html", 401, refused=True, locked=keyring.locked)
    answer = see_other("/")
    answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=_over_tls(request))
    return answer


@router.post("/ui/logout")
async def post_logout(request: Request) -> Response:
    answer = see_other(LOGIN)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_over_tls(request))
    return answer


def _over_tls(request: Request) -> bool:
    """Ours or a proxy's. Who makes the header up has a cookie that is not sent, no more."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
