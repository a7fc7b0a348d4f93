"""Deletes: by id, by user, session or filter, and of everything that a namespace has."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.audit import note
from api.body import at_once, parse_json, read_json, validate
from api.direct import Direct
from api.models import DeleteIn, PurgeIn
from api.openapi import WRITES, operation
from api.problems import invalid
from api.selection import path_id
from api.state import namespace_of, state_of
from api.taking import Taken, Writes, accept, take
from backends.journal import EVERYTHING, Drop, DropWhere, encode_write
from backends.sources import Source
from memrelay.client.answers import Accepted, Purged
from memrelay.errors import InvalidInput
from memrelay.filters import ANY_FIELD, parse_filter

router = APIRouter(prefix="/v1", route_class=Direct)
FILTER_BYTES = 16 * 1024


@router.delete(
    "/memories/{id:path}",
    status_code=202,
    openapi_extra=operation(Accepted, status=(202, 200), takes=WRITES, example={"id": "ana-seat"}),
)
async def delete_memory(request: Request, id: str, source: str = "default") -> Response:
    """Delete one memory, whether or not it is there already."""
    chosen = state_of(request).source(source)
    return await accept(request, _by_ids(chosen, [path_id(request, id)]), b"")


@router.post(
    "/memories/delete",
    status_code=202,
    openapi_extra=operation(Accepted, status=(202, 200), body=DeleteIn, takes=WRITES),
)
async def delete_memories(request: Request) -> Response:
    """Delete memories by id, or all that a user, a session and a filter select.

    By selection it is everything accepted before, stored or not; ``version`` in the answer is up to where.
    """
    state = state_of(request)
    raw = await read_json(request, at_once(state.settings))
    body = validate(DeleteIn, parse_json(raw))
    source = state.source(body.source)
    if body.ids is not None:
        return await accept(request, _by_ids(source, body.ids), raw)
    return await accept(request, where(source, selected(body, source)), raw)


@router.post(
    "/memories/purge",
    status_code=202,
    openapi_extra=operation(Purged, status=(202, 200), body=PurgeIn, takes=WRITES),
)
async def purge_memories(request: Request) -> Response:
    """Delete everything that was accepted before, of one source or of all; a job for each."""
    state = state_of(request)
    raw = await read_json(request, at_once(state.settings))
    body = validate(PurgeIn, parse_json(raw))
    if body.confirm != namespace_of(request):
        raise invalid([("/confirm", "must be the name of the namespace")])
    note(request, source=body.source or "all")
    names = state.sources.by_name if body.source is None else [state.source(body.source).name]
    purges = await asyncio.gather(*(_purge(request, state.source(name), raw) for name in names))
    view = {"jobs": [{**purge.view, "version": purge.first} for purge in purges]}
    return Response(
        msgspec.json.encode(view),
        200 if all(purge.settled for purge in purges) else 202,
        media_type="application/json",
    )


async def _purge(request: Request, source: Source, raw: bytes) -> Taken:
    return await take(request, where(source, EVERYTHING), raw, part=f"\0{source.name}")


def _by_ids(source: Source, ids: list[str]) -> Writes:
    encoded = [encode_write(Drop(id)) for id in ids]
    return Writes(source=source, lane="interactive", ids=ids, encoded=encoded, drops=ids, noted=ids)


def where(source: Source, filter: str) -> Writes:
    """In the bulk lane: it may take long, and reads leave out what it covers from now on."""
    encoded = [encode_write(DropWhere(filter))]
    return Writes(source=source, lane="bulk", ids=(), encoded=encoded, scoped=filter)


def selected(body: DeleteIn, source: Source) -> str:
    """The one filter, in JSON, for everything that the request asks for; ``InvalidInput`` otherwise."""
    parts: list[dict[str, Any]] = []
    if body.user_id is not None:
        parts.append({"user_id": body.user_id})
    if body.session_id is not None:
        parts.append({"session_id": body.session_id})
    if body.filter is not None:
        parse_filter(body.filter, source.settings.filterable)
        parts.append(body.filter)
    whole = parts[0] if len(parts) == 1 else {"$and": parts}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > FILTER_BYTES:
        raise InvalidInput(f"larger than {FILTER_BYTES} bytes", pointer="/filter")
    try:
        parse_filter(whole, ANY_FIELD)
    except InvalidInput as error:
        message = f"too much beside a user or a session: {error}"
        raise InvalidInput(message, pointer="/filter") from None
    return text
