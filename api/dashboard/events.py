"""The stream of a page's live part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from api.auth import grant_of
from api.dashboard import dead_letters, drivers, jobs, overview
from api.dashboard.live import Look, shown
from api.dashboard.page import HEADERS, Page, viewer_of
from api.feeds import News
from api.problems import not_found
from api.state import State, state_of

router = APIRouter(route_class=Page, include_in_schema=False)
LIVE: dict[str, Callable[[State, Look], Awaitable[News]]] = {
    "overview": overview.live,
    "drivers": drivers.live,
    "job": jobs.live,
    "dead-letters": dead_letters.live,
}


@router.get("/ui/events")
async def get_events(request: Request, page: str, id: str = "") -> Response:
    """The live part of ``page`` whenever it has changed, as HTML in server-sent events."""
    state, make = state_of(request), LIVE.get(page)
    if make is None:
        raise not_found()
    look = Look(page, id, viewer_of(request))
    source = partial(shown, make, state, look)
    events = state.feeds.follow(look, source, owner=look.viewer.namespace)
    return StreamingResponse(
        state.keyring.during(grant_of(request), events),
        headers=HEADERS,
        media_type="text/event-stream",
    )
