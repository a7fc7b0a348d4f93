"""Liveness, readiness (accept and search apart) and metrics."""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.answers import Health
from api.direct import Direct
from api.exposition import exposition
from api.openapi import TEXT, operation
from api.state import State, state_of
from backends.store import Store
from memrelay.client.answers import Readiness
from memrelay.errors import MemrelayError

router = APIRouter(route_class=Direct)
PROBE_SECONDS = 2.0


@router.get("/healthz", openapi_extra=operation(Health))
async def healthz(request: Request) -> Response:
    """The process answers."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz", openapi_extra=operation(Readiness, status=(200, 503)))
async def readyz(request: Request) -> Response:
    """Whether writes can be accepted (journal) and searches served (some driver of each source)."""
    state = state_of(request)
    drivers = await _reached(state)
    accept = await _journal_answers(state)
    search = all(
        any(drivers[store.name] for store in source.serving)
        for source in state.sources.by_name.values()
    )
    view = {"accept": accept, "search": search, "drivers": drivers}
    return Response(
        msgspec.json.encode(view), 200 if accept and search else 503, media_type="application/json"
    )


@router.get("/metrics", openapi_extra=operation(media=TEXT))
async def metrics(request: Request) -> Response:
    """Prometheus: this process, its drivers, and what the journal tells of the whole service."""
    state = state_of(request)
    return Response(await exposition(state, await _reached(state)), media_type=CONTENT_TYPE_LATEST)


async def _reached(state: State) -> dict[str, bool]:
    """By driver whether it answers."""
    stores = state.sources.stores
    answers = await asyncio.gather(*(_answers(store) for store in stores.values()))
    return dict(zip(stores, answers, strict=True))


async def _journal_answers(state: State) -> bool:
    try:
        await state.journal.ping()
    except MemrelayError:
        return False
    return True


async def _answers(store: Store) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await store.ping()
    except (MemrelayError, TimeoutError):
        return False
    return True
