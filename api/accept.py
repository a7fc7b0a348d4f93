"""Accepting memories: validate, encode, enter in the journal, answer 202."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.body import read_json
from api.direct import Direct
from api.models import MemoriesIn
from api.openapi import WRITES, operation
from api.state import state_of
from api.taking import Writes, accept
from memrelay.client.answers import Accepted

router = APIRouter(prefix="/v1", route_class=Direct)


@router.post(
    "/memories",
    status_code=202,
    openapi_extra=operation(Accepted, status=(202, 200), body=MemoriesIn, takes=WRITES),
)
async def add_memories(request: Request) -> Response:
    """Take in 1 to 1,000 memories. All or none: one bad memory is 422 for all, with pointers."""
    state = state_of(request)
    raw = await read_json(request, state.settings.body_limit)
    read = await state.aside.memories(raw)
    writes = Writes(
        source=state.source(read.source),
        lane=read.lane,
        ids=read.ids,
        encoded=read.encoded,
        noted=read.ids,
    )
    return await accept(request, writes, raw)
