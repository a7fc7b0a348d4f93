"""Reading memories page by page, in the order of their ids."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from fastapi import APIRouter, Request, Response

from api.body import at_once, read_model
from api.direct import Direct
from api.models import ListIn
from api.openapi import operation
from api.problems import invalid
from api.reader import reader_of
from api.selection import identifier, selection
from api.state import namespace_of, state_of
from api.views import memory_view
from memrelay.client.answers import MemoryPage

router = APIRouter(prefix="/v1", route_class=Direct)


@router.post("/memories/list", openapi_extra=operation(MemoryPage, body=ListIn))
async def list_memories(request: Request) -> Response:
    """One page of a selection, from the first driver that answers.

    A page may hold less than ``limit``, even nothing, before the end: ``cursor`` is null only there. So it is
    where few of many memories are selected, and the store that serves has to look through all.
    """
    state = state_of(request)
    body = await read_model(request, ListIn, at_once(state.settings))
    namespace, seconds = namespace_of(request), state.settings.search_timeout
    chosen = selection(body, state.source(body.source))
    after = None if body.cursor is None else _id_of(body.cursor)
    answer = await state.read(
        body.source,
        lambda source: reader_of(state, source, namespace).find(
            source.stores, chosen, after=after, limit=body.limit, seconds=seconds
        ),
    )
    listed = answer.value.value
    view = {
        "memories": [memory_view(memory) for memory in listed.memories],
        "cursor": None if listed.after is None else _cursor_of(listed.after),
        "served_by": [answer.peer.name],
        "fallback": answer.fallback,
        "behind": answer.value.behind,
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


def _cursor_of(id: str) -> str:
    return urlsafe_b64encode(id.encode()).decode()


def _id_of(cursor: str) -> str:
    try:
        return identifier.validate_python(urlsafe_b64decode(cursor.encode()).decode())
    except ValueError:  # of base64, of UTF-8, or of an id
        raise invalid([("/cursor", "not the cursor of a page")]) from None
