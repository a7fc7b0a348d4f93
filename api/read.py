"""Reading memories back by id, and counting them."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from api.body import at_once, read_model
from api.direct import Direct
from api.models import CountIn
from api.openapi import operation
from api.problems import not_found
from api.reader import reader_of
from api.selection import path_id, selection
from api.state import namespace_of, state_of
from api.views import memory_view
from memrelay.client.answers import Count, StoredMemory
from memrelay.times import now_us

router = APIRouter(prefix="/v1", route_class=Direct)


@router.get(
    "/memories/{id:path}", openapi_extra=operation(StoredMemory, example={"id": "ana-seat"})
)
async def get_memory(request: Request, id: str, source: str = "default") -> Response:
    """One memory as it is stored. ``ETag`` is its version."""
    state = state_of(request)
    id = path_id(request, id)
    namespace, seconds = namespace_of(request), state.settings.search_timeout
    answer = await state.read(
        source, lambda it: reader_of(state, it, namespace).get(it.stores, [id], seconds=seconds)
    )
    memory = answer.value.value.get(id)
    if memory is None or memory.expired(now_us()):
        raise not_found("memory")
    return Response(
        msgspec.json.encode(memory_view(memory)),
        headers={"ETag": f'"{memory.version}"'},
        media_type="application/json",
    )


@router.post("/memories/count", openapi_extra=operation(Count, body=CountIn))
async def count_memories(request: Request) -> Response:
    """How many live memories a selection has in the first driver that answers."""
    state = state_of(request)
    body = await read_model(request, CountIn, at_once(state.settings))
    namespace, seconds = namespace_of(request), state.settings.search_timeout
    chosen = selection(body, state.source(body.source))
    answer = await state.read(
        body.source,
        lambda it: reader_of(state, it, namespace).count(it.stores, chosen, seconds=seconds),
    )
    view = {
        "count": answer.value.value,
        "served_by": [answer.peer.name],
        "fallback": answer.fallback,
        "behind": answer.value.behind,
    }
    return Response(msgspec.json.encode(view), media_type="application/json")
