"""Drivers: how each one stands, how far it is behind, and what brings it back in sync."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.dashboard.live import Look, shown
from api.dashboard.page import Page, fragment, page, viewer_of
from api.drivers import driver_views
from api.feeds import News
from api.state import State, state_of

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get("/ui/drivers")
async def get_drivers(request: Request) -> Response:
    news = await shown(live, state_of(request), Look("drivers", "", viewer_of(request)))
    return page(request, "drivers.html", live=news.text)


async def live(state: State, look: Look) -> News:
    """What is known of every driver."""
    rows = await driver_views(state, look.viewer.namespace)
    return News(fragment("drivers_live.html", drivers=rows, viewer=look.viewer))
