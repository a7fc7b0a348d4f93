"""Reading memories back by id, and counting them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from fastapi import APIRouter, Request, Response

from api.body import read_model
from api.direct import Direct
from api.models import CountIn
from api.openapi import body_of
from api.problems import not_found
from api.selection import path_id, selection
from api.state import State, namespace_of, state_of
from api.views import memory_view
from backends.sources import Source
from backends.store import Store
from memrelay.driver import Driver
from memrelay.fallback import Answer, first_answer
from memrelay.times import now_us
from memrelay.types import Scope

router = APIRouter(prefix="/v1", route_class=Direct)


@router.get("/memories/{id:path}")
async def get_memory(request: Request, id: str, source: str = "default") -> Response:
    """One memory as it is stored. ``ETag`` is its version."""
    state = state_of(request)
    id = path_id(request, id)
    chosen = state.source(source)
    scope = chosen.scope(namespace_of(request))
    answer = await ask_stores(state, chosen.stores, scope, lambda driver: driver.get(scope, [id]))
    memory = answer.value.get(id)
    if memory is None or memory.expired(now_us()):
        raise not_found()
    return Response(
        msgspec.json.encode(memory_view(memory)),
        headers={"ETag": f'"{memory.version}"'},
        media_type="application/json",
    )


@router.post("/memories/count", openapi_extra=body_of(CountIn))
async def count_memories(request: Request) -> Response:
    """How many live memories a selection has in the first driver that answers."""
    state = state_of(request)
    body = await read_model(request, CountIn, state.settings.body_limit)
    source = state.source(body.source)
    scope = source.scope(namespace_of(request))
    chosen = selection(body, source)
    answer = await ask_stores(
        state, source.stores, scope, lambda driver: driver.count(scope, chosen, now=now_us())
    )
    view = {
        "count": answer.value,
        "served_by": [answer.peer.name],
        "fallback": answer.fallback,
        "behind": await behind(state, source, scope.namespace, [answer.peer]),
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


async def ask_stores[T](
    state: State,
    stores: Sequence[Store],
    scope: Scope,
    action: Callable[[Driver], Awaitable[T]],
    *,
    seconds: float | None = None,
) -> Answer[Store, T]:
    """The first store's answer, the next one's on transient failure, under one deadline."""
    return await first_answer(
        stores,
        lambda store, timeout: store.call(scope, action, timeout=timeout),
        deadline=time.monotonic() + (seconds or state.settings.search_timeout),
        clock=time.monotonic,
    )


async def behind(
    state: State, source: Source, namespace: str, stores: Sequence[Store]
) -> int | None:
    """Accepted memories that the furthest behind of ``stores`` has not applied; None without the journal."""
    return await state.backlog.behind(namespace, source.name, [store.name for store in stores])
