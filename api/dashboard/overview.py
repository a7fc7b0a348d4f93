"""The overview: what comes in, how soon it is found, what waits, and what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.dashboard.charts import Chart, Series, chart
from api.dashboard.formats import duration, iso, number
from api.dashboard.live import Look, shown
from api.dashboard.page import Page, fragment, page, viewer_of
from api.drivers import driver_views
from api.feeds import News
from api.state import State, state_of
from backends.journal import dead
from backends.journal.pulse import pulse
from backends.journal.rates import Minute, Percentiles, rates
from backends.journal.usage import clock, usage

router = APIRouter(route_class=Page, include_in_schema=False)
MINUTES = 60
FEW = 1.0
"""Memories a second below which a rate is told by the minute."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of the last sixty seconds, in memories by ``unit``."""

    value: float
    unit: str


@router.get("/")
async def get_overview(request: Request) -> Response:
    news = await shown(live, state_of(request), Look("overview", "", viewer_of(request)))
    return page(request, "overview.html", live=news.text)


async def live(state: State, look: Look) -> News:
    """All that the overview says."""
    namespace = look.viewer.namespace
    waiting, causes, minutes, now = await asyncio.gather(
        usage(state.journal, namespace),
        dead.by_cause(state.journal, namespace),
        rates(state.journal, namespace, MINUTES),
        clock(state.journal),
    )
    told, beats, drivers = await asyncio.gather(
        state.alarms(namespace), pulse(state.journal), driver_views(state, namespace)
    )
    text = fragment(
        "overview_live.html",
        waiting=waiting,
        oldest=max((row["oldest_seconds"] or 0 for row in drivers), default=0),
        causes=causes,
        alarms=told,
        pulse=beats,
        drivers=drivers,
        accepted=rate([minute.accepted for minute in minutes], now),
        stored=rate([minute.stored for minute in minutes], now),
        hour=minutes,
        latest=next((m for m in reversed(minutes) if m.searchable_ms is not None), None),
        throughput=_throughput(minutes),
        searchable=_searchable(minutes),
    )
    return News(text)


def rate(counts: Sequence[int], now: int) -> Rate:
    """Of counts by the minute, the last of which is not over at ``now`` (microseconds)."""
    elapsed = now % 60_000_000 / 60_000_000
    a_minute = counts[-1] + counts[-2] * (1 - elapsed)
    if a_minute < 60 * FEW:
        return Rate(round(a_minute), "/ min")
    return Rate(a_minute / 60, "/ s")


def _throughput(minutes: Sequence[Minute]) -> Chart:
    series = [
        Series("accepted", [minute.accepted for minute in minutes], "accent", filled=True),
        Series("stored", [minute.stored for minute in minutes], "ok"),
    ]
    titles = [
        f"{_clock_time(m)}: {number(m.accepted)} accepted, {number(m.stored)} stored"
        + (f", {number(m.failed)} given up" if m.failed else "")
        for m in minutes
    ]
    busy = any(minute.accepted or minute.stored for minute in minutes)
    return chart(series if busy else [], titles)


def _searchable(minutes: Sequence[Minute]) -> Chart:
    known = [minute.searchable_ms for minute in minutes]
    series = [
        Series("p50", [it.p50 if it else None for it in known], "accent", filled=True),
        Series("p95", [it.p95 if it else None for it in known], "violet"),
    ]
    return chart(series, [f"{_clock_time(m)}: {_said(m.searchable_ms)}" for m in minutes])


def _said(it: Percentiles | None) -> str:
    if it is None:
        return "nothing stored"
    return f"half within {duration(it.p50 / 1000)}, 95% within {duration(it.p95 / 1000)}"


def _clock_time(minute: Minute) -> str:
    return f"{iso(1000 * minute.at)[11:16]} UTC"
