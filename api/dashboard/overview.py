"""The overview: what comes in, how soon it is found, what waits, and what is wrong."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from api.dashboard.live import Look, shown
from api.dashboard.page import Page, fragment, page, viewer_of
from api.drivers import driver_views
from api.feeds import News
from api.state import State, state_of
from backends.journal import dead
from backends.journal.pulse import pulse
from backends.journal.usage import usage

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get("/")
async def get_overview(request: Request) -> Response:
    news = await shown(live, state_of(request), Look("overview", "", viewer_of(request)))
    return page(request, "overview.html", live=news.text)


async def live(state: State, look: Look) -> News:
    """All that the overview says."""
    namespace = look.viewer.namespace
    waiting, causes, told, beats, drivers = await asyncio.gather(
        usage(state.journal, namespace),
        dead.by_cause(state.journal, namespace),
        state.alarms(namespace),
        pulse(state.journal),
        driver_views(state, namespace),
    )
    ages = [row["oldest_seconds"] for row in drivers if row["oldest_seconds"] is not None]
    text = fragment(
        "overview_live.html",
        waiting=waiting,
        oldest=max(ages, default=None),
        causes=causes,
        alarms=told,
        pulse=beats,
        drivers=drivers,
    )
    return News(text)
