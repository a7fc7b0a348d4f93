"""Drivers: how each one stands, how far it is behind, and what brings it back in sync."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from api.audit import note
from api.dashboard.form import read_form
from api.dashboard.live import Look, shown
from api.dashboard.page import Page, fragment, page, see_other, viewer_of
from api.drivers import ask_sync, driver_views, let_go, let_in, take_out
from api.feeds import News
from api.state import State, state_of
from backends.reconcile.divergence import FINDINGS

router = APIRouter(route_class=Page, include_in_schema=False)
DONE = {
    "sync": "The sync has been asked for; a worker takes it up within seconds.",
    "detach": "The driver is detached.",
    "retire": "The source has let the driver go.",
    "join": "The driver is let in; it is filled, then it serves.",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What the last sync found of one peer in one source, in memories."""

    source: str
    peer: str
    compared: int
    differed: int
    repaired: int
    left: int


@router.get("/ui/drivers")
async def get_drivers(request: Request, done: str = "") -> Response:
    state = state_of(request)
    news = await shown(live, state, Look("drivers", "", viewer_of(request)))
    return page(
        request,
        "drivers.html",
        live=news.text,
        done=DONE.get(done),
        names=list(state.sources.stores),
        sources=list(state.sources.by_name),
    )


async def live(state: State, look: Look) -> News:
    """What is known of every driver."""
    rows = await driver_views(state, look.viewer.namespace)
    text = fragment(
        "drivers_live.html",
        drivers=rows,
        found={row["name"]: found(row["sync"]) for row in rows},
        viewer=look.viewer,
    )
    return News(text)


def found(sync: Mapping[str, Any] | None) -> list[Found]:
    """Of a pass as ``pass_view`` has it, source by source."""
    if sync is None:
        return []
    return [
        Found(
            source,
            peer,
            report["compared"],
            sum(drift[kind] for kind in FINDINGS),
            drift["repaired"],
            drift["unrepaired"],
        )
        for source, report in sync["report"].items()
        for peer, drift in report["peers"].items()
    ]


@router.post("/ui/drivers/{name}/sync")
async def post_sync(request: Request, name: str) -> Response:
    state = state_of(request)
    form = await read_form(request)
    await ask_sync(state, name, full=form.get("full") == "true")
    return _done("sync", name)


@router.post("/ui/drivers/{name}/detach")
async def post_detach(request: Request, name: str) -> Response:
    await take_out(state_of(request), name)
    return _done("detach", name)


@router.post("/ui/drivers/{name}/retire")
async def post_retire(request: Request, name: str) -> Response:
    state = state_of(request)
    source = state.source((await read_form(request)).get("source", ""))
    note(request, source=source.name)
    await let_go(state, source, name)
    return _done("retire", name)


@router.post("/ui/drivers/{name}/join")
async def post_join(request: Request, name: str) -> Response:
    state = state_of(request)
    source = state.source((await read_form(request)).get("source", ""))
    note(request, source=source.name)
    await let_in(state, source, name, empty=False)
    return _done("join", name)


def _done(what: str, name: str) -> Response:
    return see_other(f"/ui/drivers?done={what}#{name}")
